"""Mirrors: what they hold is what metrics.jsonl holds, each step once, and their failure costs a run
nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from menon.assembly.run import LATER, tracked
from menon.assembly.tracking import Mirrored, recorded
from menon.errors import UserError
from menon.loop import loop
from menon.record import trackers
from menon.record.trackers import Tracked, check, mirrored, run_id
from tiny_run import Watching, opened, tiny_run


class Memory:
    """A mirror in memory; it breaks when it should."""

    def __init__(self, folder: Path, settings: Any, lines: Any, breaks_at: int = 10**6) -> None:
        self.folder, self.rows, self.breaks_at, self.closed = folder, list(lines), breaks_at, False

    def write(self, step: int, numbers: Any) -> None:
        if step >= self.breaks_at:
            raise ConnectionError("the service\nis down")
        self.rows.append((step, numbers))

    def close(self) -> None:
        self.closed = True


def session(
    path: Path, tracker: Any = "tensorboard", stop_after: int | None = None, steps: int = 4
) -> tuple[Tracked, Watching]:
    """One session of a run with a tracker."""
    watch = Watching()
    tracked = Tracked(tracker, watch.notify)
    with opened(path) as folder:
        settings = folder.settings
        stop = lambda: stop_after is not None and len(folder.metrics()) >= stop_after  # noqa: E731
        loop(tiny_run(steps=steps, save_every=0), folder, Mirrored(watch, tracked, settings), stop)
    return tracked, watch


def lines_of(path: Path, name: str = "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


def test_a_mirror_holds_the_record(tmp_path, monkeypatch):
    monkeypatch.setitem(trackers.MIRRORS, "tensorboard", Memory)
    tracked, watch = session(tmp_path / "run")
    mirror: Any = tracked.mirror
    assert [step for step, _ in mirror.rows] == [0, 1, 2, 2, 3, 4, 4]
    assert [numbers for step, numbers in mirror.rows if "acc/mean" in numbers] == [
        mirrored(line) for line in lines_of(tmp_path / "run")
    ]
    assert (
        mirror.rows[0][1]["heldout/accuracy"]
        == lines_of(tmp_path / "run", "evaluations.jsonl")[0]["accuracy"]
    )
    assert [(step, mirrored(numbers)) for step, numbers in recorded(tmp_path / "run")] == mirror.rows
    assert watch.steps == [1, 2, 3, 4]
    tracked.close()
    assert mirror.closed


def test_a_mirror_that_fails_says_so_once_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(trackers.MIRRORS, "wandb", lambda *given: Memory(*given, breaks_at=2))
    tracked, watch = session(tmp_path / "run", "wandb")
    assert watch.sentences == [
        "wandb failed (the service is down) and is left out from here on; everything is in metrics.jsonl"
    ]
    assert watch.steps == [1, 2, 3, 4]
    assert len(lines_of(tmp_path / "run")) == 4
    tracked.close()


def test_a_mirror_that_cannot_begin(tmp_path, monkeypatch):
    def refuse(*given):
        raise OSError("no room")

    monkeypatch.setitem(trackers.MIRRORS, "wandb", refuse)
    _, watch = session(tmp_path / "run", "wandb", steps=1)
    assert watch.sentences == [
        "wandb failed (no room) and is left out from here on; everything is in metrics.jsonl"
    ]


def test_what_is_mirrored_is_finite():
    assert mirrored(
        {"step": 3, "a": 1, "b": float("nan"), "c": None, "d": "x", "e": float("inf"), "f": 0.5}
    ) == {"a": 1.0, "f": 0.5}


def test_curves_that_explain_nothing_stay_in_the_record():
    assert mirrored(
        {"time/other": 1.0, "refl/per_pattern/wait": 0.5, "refl/rate": 0.5, "time/step": 2.0}
    ) == {
        "refl/rate": 0.5,
        "time/step": 2.0,
    }


def test_both_trackers_at_once(tmp_path, monkeypatch):
    """Each has every step, and one that fails does not stop the other."""
    made: list[Memory] = []

    def memory(breaks_at: int):
        def make(*given: Any) -> Memory:
            made.append(Memory(*given, breaks_at=breaks_at))
            return made[-1]

        return make

    monkeypatch.setitem(trackers.MIRRORS, "tensorboard", memory(2))
    monkeypatch.setitem(trackers.MIRRORS, "wandb", memory(10**6))
    watch = Watching()
    with opened(tmp_path / "run") as folder, tracked(watch, "both", folder.settings) as seen:
        loop(tiny_run(steps=2, save_every=0), folder, seen)
    assert watch.steps == [1, 2]
    broken, whole = sorted(made, key=lambda one: one.breaks_at)
    assert [step for step, _ in broken.rows] == [0, 1]
    assert [step for step, _ in whole.rows] == [0, 1, 2, 2]
    assert whole.closed
    assert watch.sentences == [
        "tensorboard failed (the service is down) and is left out from here on; everything is in "
        "metrics.jsonl"
    ]


def test_both_need_both_packages(monkeypatch):
    monkeypatch.setattr(trackers, "BOTH", ("json", "nowhere"))
    with pytest.raises(UserError, match="tracker=both needs the package nowhere; install it by"):
        check("both")


def test_the_project_of_weights_and_biases(tmp_path, monkeypatch):
    """It is a setting, also of a run that goes on."""
    given: list[dict[str, Any]] = []

    class Run:
        step = 0

        def log(self, numbers: Any, step: int) -> None: ...
        def finish(self) -> None: ...

    def init(**words: Any) -> Run:
        given.append(words)
        return Run()

    fake = SimpleNamespace(init=init, api=SimpleNamespace(api_key="k"), Settings=lambda **words: None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    (tmp_path / "run.json").write_text("{}")
    for settings in ({}, {"control": {"wandb_project": "sums"}}):
        trackers.WandB(tmp_path, settings, []).close()
    assert [words["project"] for words in given] == ["menon", "sums"]
    assert "wandb_project" in LATER


def test_a_missing_package_is_one_sentence():
    with pytest.raises(
        UserError,
        match=r"tracker=nowhere needs the package nowhere; install it by pip install .*\[trackers\]'",
    ):
        check("nowhere")


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "nowhere").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="needs the package"):
        check("nowhere")


def test_a_run_has_one_name_over_its_sessions(tmp_path):
    opened(tmp_path / "a").close()
    opened(tmp_path / "b").close()
    (tmp_path / "b" / "run.json").write_text("{}")
    assert run_id(tmp_path / "a") == run_id(tmp_path / "a") != run_id(tmp_path / "b")


def test_tensorboard_holds_each_step_once_after_a_resume(tmp_path):
    """Stopped in the middle and resumed, and once more behind its end: every number of metrics.jsonl, each
    step once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = tmp_path / "run"
    for stop_after, steps in ((2, 4), (None, 4), (None, 5)):
        tracked, watch = session(path, "tensorboard", stop_after, steps)
        tracked.close()
        assert not any("failed" in sentence for sentence in watch.sentences)
    events = EventAccumulator(str(path / "tensorboard"))
    events.Reload()
    for name in ("acc/mean", "entropy/mean", "grad_norm"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines_of(path)]
    held_out = [(event.step, event.value) for event in events.Scalars("heldout/accuracy")]
    assert held_out == [
        (line["step"], pytest.approx(line["accuracy"])) for line in lines_of(path, "evaluations.jsonl")
    ]


def records(data: bytes) -> Iterator[bytes]:
    """Of a log in LevelDB's form: blocks of 32 KiB with pieces of records behind heads of 7 bytes; 7 bytes
    come before all."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if left < 7 or not kind:
            place += left
            continue
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


def test_wandb_offline_holds_each_step_once_after_a_resume(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    path = tmp_path / "run"
    for stop_after in (2, None):
        tracked, watch = session(path, "wandb", stop_after)
        tracked.close()
        assert not any("failed" in sentence for sentence in watch.sentences)
    (file,) = (path / "wandb").glob("offline-run-*/*.wandb")
    rows = []
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {
                item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item
            }
            rows.append((record.history.step.num, items))
    assert [step for step, _ in rows] == [0, 1, 2, 3, 4]
    assert [items["acc/mean"] for step, items in rows if step] == [
        line["acc/mean"] for line in lines_of(path)
    ]


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """No service is configured, and trackio has a folder of its own."""
    for name in ("MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


def test_mlflow_holds_the_record_once(tmp_path, clean):
    """Of a run in two sessions, by the installed package."""
    mlflow = pytest.importorskip("mlflow")
    session(tmp_path / "run", "mlflow", stop_after=2)[0].close()
    session(tmp_path / "run", "mlflow")[0].close()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("menon").experiment_id])
    history = client.get_metric_history(run.info.run_id, "reward/mean")
    lines = lines_of(tmp_path / "run")
    assert sorted((one.step, one.value) for one in history) == [
        (line["step"], line["reward/mean"]) for line in lines
    ]


def test_trackio_holds_the_record_once(tmp_path, clean):
    """Of a run in two sessions, by the installed package, in a process of its own: trackio reads its folder
    when it is imported."""
    pytest.importorskip("trackio")
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\nfrom pathlib import Path\n"
        "from test_trackers import session\n"
        "session(Path(sys.argv[1]), 'trackio', stop_after=2)[0].close()\n"
        "session(Path(sys.argv[1]), 'trackio')[0].close()\n"
        "import json\nfrom trackio.sqlite_storage import SQLiteStorage as S\n"
        "(name,) = S.get_runs('menon')\nprint(json.dumps(S.get_logs('menon', name)))"
    )
    here = Path(__file__).parent
    words = [sys.executable, "-c", code, str(tmp_path / "run"), str(here), str(here.parent / "support")]
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")}
    found = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    logs = json.loads(found.splitlines()[-1])
    assert [(one["step"], one["reward/mean"]) for one in logs if "reward/mean" in one] == [
        (line["step"], line["reward/mean"]) for line in lines_of(tmp_path / "run")
    ]
