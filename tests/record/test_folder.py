import json
import os
import time

import numpy as np
import pytest
import torch

from menon.errors import UserError
from menon.record import checkpoint, disk
from menon.record.folder import RunFolder, determinism
from menon.types import StepReport

NO_TOKENS = {"token": np.zeros(0, dtype=np.int64), "is_action": np.zeros(0, dtype=bool)}


def report(step: int, **metrics: float) -> StepReport:
    return StepReport(step, metrics, (), NO_TOKENS, np.array([0]), f"fingerprint{step}")


def test_run_json_says_what_a_replay_depends_on(tmp_path):
    with RunFolder.create(tmp_path / "deep" / "run", {"seed": 5, "steps": 3, "nested": {"rate": 0.1}}):
        about = json.loads((tmp_path / "deep" / "run" / "run.json").read_text())
    assert about["settings"] == {"seed": 5, "steps": 3, "nested": {"rate": 0.1}}
    assert about["seed"] == 5
    assert about["determinism"] == "replay"
    assert set(about["versions"]) == {"menon", "python", "torch", "transformers", "numpy", "numba"}
    assert about["machine"]["threads"] == 1
    with RunFolder.open(tmp_path / "deep" / "run") as folder:
        assert folder.settings == about["settings"]
        assert folder.changes() == []


def test_changes_are_named(tmp_path):
    RunFolder.create(tmp_path, {}).close()
    about = disk.read_json(tmp_path / "run.json")
    about["machine"]["threads"] = 2
    about["versions"]["torch"] = "1.0"
    disk.write_json(tmp_path / "run.json", about)
    with RunFolder.open(tmp_path) as folder:
        assert [change.split(" is ")[0] for change in folder.changes()] == [
            "torch was 1.0 and",
            "threads was 2 and",
        ]


def test_a_run_is_not_overwritten(tmp_path):
    RunFolder.create(tmp_path / "run", {}).close()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(
        UserError, match=r"holds a run already; go on with it by `menon train --resume .*run`, or set out="
    ):
        RunFolder.create(tmp_path / "run", {})
    assert disk.read_json(tmp_path / "run" / "run.json")["settings"] == {}


def test_what_did_no_step_is_no_run(tmp_path):
    """A reward that failed in the first evaluation: the folder is free, and keeps what is not a run's."""
    with RunFolder.create(tmp_path, {"seed": 1}) as folder:
        folder.record_evaluation(0, {"reward": 0.5})
    (tmp_path / "notes.txt").write_text("mine")
    with RunFolder.create(tmp_path, {"seed": 2}) as folder:
        assert folder.view.settings == {"seed": 2}
        assert folder.view.evaluations == folder.view.all_events == []
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with RunFolder.create(tmp_path, {}):
        for attempt in (RunFolder.open, lambda path: RunFolder.create(path, {})):
            with pytest.raises(
                UserError, match=rf"another run \(process {os.getpid()}\) is writing to .*; wait .* out="
            ):
                attempt(tmp_path)
    RunFolder.open(tmp_path).close()


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    RunFolder.create(tmp_path, {}).close()
    ready, write_end = os.pipe()
    run = os.fork()
    if run == 0:
        folder = RunFolder.open(tmp_path)
        worker = os.fork()
        if worker == 0:  # outlives its parent
            os.write(write_end, f"{os.getpid()}\n".encode())
            time.sleep(20)
        time.sleep(20)
        folder.close()
        os._exit(0)
    worker = int(os.read(ready, 20))
    try:
        with pytest.raises(UserError, match=f"another run .process {run}."):
            RunFolder.open(tmp_path)
        os.kill(run, 9)
        os.waitpid(run, 0)
        RunFolder.open(tmp_path).close()
    finally:
        os.kill(worker, 9)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "holds no run"), ("{", "damaged"), ("{}", "damaged"), ('{"settings": 3}', "damaged")],
)
def test_folders_that_cannot_be_opened(tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    for _ in range(2):  # the lock was let go
        with pytest.raises(UserError, match=message):
            RunFolder.open(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be made \(not a directory\); set out="):
        RunFolder.create(tmp_path / "file" / "run", {})


def test_rewind_takes_back_everything_after_a_step(tmp_path):
    with RunFolder.create(tmp_path, {}) as folder:
        for step in (1, 2, 3):
            folder.record(report(step, x=step / 3, bad=float("nan")))
            folder.record_evaluation(step - 1, {"accuracy": step / 10})
        kept = (tmp_path / "metrics.jsonl").read_bytes().splitlines(keepends=True)[:2]
        with open(tmp_path / "metrics.jsonl", "ab") as file:
            file.write(b'{"step": 4, "x')
        (tmp_path / "transcripts" / "step_000003.parquet.tmp").write_bytes(b"half")
        (folder.checkpoints / "step_000003.tmp").mkdir(parents=True)
        (folder.checkpoints / "latest.tmp").symlink_to("step_000003.tmp")
        folder.write_report(
            {"steps": 3, "wall_s": 1.0, "generated_tokens": 5, "before": NUMBERS, "after": NUMBERS}
        )
        folder.rewind(2)
        assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(kept)
        assert folder.metrics()[1] == {"step": 2, "x": 2 / 3, "bad": None, "fingerprint": "fingerprint2"}
        assert sorted(path.name for path in (tmp_path / "transcripts").iterdir()) == [
            "step_000001.parquet",
            "step_000002.parquet",
        ]
        assert list(folder.checkpoints.iterdir()) == []
        assert folder.report() is None
        assert folder.evaluation(2) == {"accuracy": 0.3}
        folder.rewind(0)
        assert folder.metrics() == []
        assert folder.evaluation(0) == {"accuracy": 0.1}
        assert folder.evaluation(1) is None


NUMBERS = {
    "accuracy": 0.5,
    "accuracy_low": 0.25,
    "accuracy_high": 0.75,
    "reward": -0.5,
    "best_accuracy": 0.625,
    "mean_length": 12.0,
    "entropy": 0.25,
    "n": 4,
}


def test_reports(tmp_path):
    with RunFolder.create(tmp_path / "mine", {}) as folder:
        told = {
            "steps": 3,
            "wall_s": 61.2,
            "generated_tokens": 12345,
            "before": NUMBERS,
            "after": NUMBERS | {"accuracy": 0.75},
        }
        folder.write_report(told)
        assert folder.report() == told
    page = (tmp_path / "mine" / "report.md").read_text()
    assert "# mine" in page
    assert "3 steps, 12,345 generated tokens, 61 s." in page
    accuracy = "| accuracy at temperature 1 | 0.500 (0.25 to 0.75) | 0.750 (0.25 to 0.75) |\n"
    best = "| accuracy at its best temperature | 0.625 | 0.625 |\n"
    reward = "| reward at temperature 1 | -0.500 | -0.500 |\n"
    assert accuracy + best + reward + "| length, tokens | 12.0 | 12.0 |" in page  # a vote was not asked for


def test_a_full_disk_at_the_start_is_one_sentence(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "full")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(UserError, match="no room left on the disk; there is no checkpoint yet"):
        RunFolder.create(tmp_path, {})
    monkeypatch.undo()
    RunFolder.create(tmp_path, {}).close()


def test_saving_syncs_the_metrics_first(tmp_path, monkeypatch):
    order: list[str] = []
    monkeypatch.setattr(disk, "sync_file", lambda path: order.append(path.name))
    monkeypatch.setattr(checkpoint, "save", lambda folder, snapshot, export: order.append("checkpoint"))
    with RunFolder.create(tmp_path, {}) as folder:
        folder.record(report(1))
        folder.record_evaluation(0, NUMBERS)
        folder.save(checkpoint.Snapshot(1, {}), lambda path: None)
    assert order == ["metrics.jsonl", "evaluations.jsonl", "checkpoint"]


@pytest.mark.parametrize(
    ("device", "staleness", "available", "level"),
    [
        ("cpu", 0, True, "replay"),
        ("auto", 0, False, "replay"),
        ("auto", 0, True, "invariance"),
        ("cuda:1", 0, True, "invariance"),
        ("cpu", 1, False, "order"),
        ("cuda:1", 1, True, "order"),
    ],
)
def test_a_gpu_promises_less_and_so_does_staleness(device, staleness, available, level, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert determinism({"engine": {"device": device}, "source": {"staleness": staleness}}) == level


def test_run_json_finds_settings_in_their_tables(tmp_path):
    settings = {"engine": {"device": "cpu"}, "source": {"staleness": 1}, "control": {"seed": 3}}
    with RunFolder.create(tmp_path / "run", settings) as folder:
        assert (folder.about["determinism"], folder.about["seed"]) == ("order", 3)
