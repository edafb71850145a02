import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faults import Disk, filling
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loop import Agreement, check_agreement, loop, lost, stop_requests
from menon.record import checkpoint
from menon.record.reader import RunView
from menon.record.transcripts import read_transcript
from menon.types import NOT_APPLICABLE, Rollout, StepReport, Verdict
from tiny_run import Watching, critic_first, drive, even, models_of, opened, tiny_run, traces, weights_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of four steps that never stopped."""
    path = tmp_path_factory.mktemp("whole") / "run"
    drive(path)
    return path


def test_a_critic_that_learns_first(tmp_path):
    """The policy stands for two steps; the critic learns whole returns: of a reward that is always 1, the
    number 1."""

    def one(rollout: Rollout) -> Verdict:
        return Verdict(1.0, 1.0)

    run = critic_first(tiny_run("ppo", steps=3, grade=one), 2)
    start, policies, targets = weights_of(run), [], []

    def see(report: StepReport) -> None:
        policies.append(weights_of(run))
        targets.append(report.columns["ret"][report.columns["advantage"] != 0])

    drive(tmp_path / "run", run, Watching(see))
    unmoved = [all((policy[name] == start[name]).all() for name in start) for policy in policies]
    assert unmoved == [True, True, False]
    assert all(target == pytest.approx(1.0, abs=1e-6) for target in targets)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["value/loss"] > lines[1]["value/loss"] > lines[2]["value/loss"]
    assert ["loss/policy" in line for line in lines] == [False, False, True]
    assert lines[0]["fingerprint"] == lines[1]["fingerprint"] != lines[2]["fingerprint"]


def test_what_a_run_leaves(tmp_path):
    watch = drive(tmp_path / "run", tiny_run(save_every=3))
    path = tmp_path / "run"
    report = json.loads((path / "report.json").read_text())
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == watch.steps == [1, 2, 3, 4]
    assert watch.evaluations == [0, 2, 4]
    accuracy = {
        line["step"]: line["accuracy"]
        for line in map(json.loads, (path / "evaluations.jsonl").read_text().splitlines())
    }
    best = 4 if accuracy[4] > accuracy[2] else 2
    assert os.readlink(path / "checkpoints" / "best") == f"step_00000{best}"
    kept = {"best", "latest", "step_000003", "step_000004", f"step_00000{best}"}
    assert {file.name for file in (path / "checkpoints").iterdir()} == kept
    assert len(list((path / "transcripts").iterdir())) == 4
    rows = read_transcript(path / "transcripts" / "step_000002.parquet")
    assert len(rows) == 6
    assert lines[1]["reward/mean"] == pytest.approx(np.mean([row["score"] for row in rows]), abs=1e-6)
    assert report["steps"] == 4
    assert report["generated_tokens"] == sum(
        sum(r["is_action"]) for s in (1, 2, 3, 4) for r in rows_of(path, s)
    )
    assert {"accuracy", "mean_length", "entropy"} <= report["before"].keys() & report["after"].keys()
    assert 0 < report["wall_s"] < 60
    assert watch.report == report
    assert len({line["fingerprint"] for line in lines}) == 4


def rows_of(path: Path, step: int) -> list[dict]:
    return read_transcript(path / "transcripts" / f"step_{step:06d}.parquet")


def test_the_named_parts_of_a_step_are_nearly_all_of_its_time(whole):
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        parts = {
            name: value for name, value in line.items() if name.startswith("time/") and name != "time/step"
        }
        assert parts.keys() == {
            f"time/{name}" for name in ("rollout", "score", "advantage", "update", "sync", "report", "other")
        }
        assert sum(parts.values()) == pytest.approx(line["time/step"], rel=1e-9)
    assert np.median([line["time/other"] / line["time/step"] for line in lines]) < 0.02


def test_evaluating_more_or_less_often_changes_nothing_else(whole, tmp_path):
    drive(tmp_path / "run", tiny_run(evaluate_every=1))
    seldom, often = (but_best(traces(path)) for path in (whole, tmp_path / "run"))
    for name in ("evaluations.jsonl", "evaluations.index"):
        assert seldom.pop(name) != often.pop(name)
    more = {f"evaluations/step_00000{step}.parquet" for step in (1, 3)}
    assert often.keys() - seldom.keys() == more
    assert seldom == {name: trace for name, trace in often.items() if name not in more}


def but_best(found: dict) -> dict:
    """All but which earlier checkpoint is kept as the best."""
    return {name: trace for name, trace in found.items() if name != "best" and not name.startswith(EARLIER)}


EARLIER = ("checkpoints/step_000001", "checkpoints/step_000002")


def graded_by(good: set[int]):
    """Held-out answers are right after the steps of `good` only; a rollout's version counts the weights."""

    def grade(rollout: Rollout) -> Verdict:
        known = rollout.prompt.index >= 100
        right = float(max(rollout.version) in good) if known else float(len(rollout.text) % 2)
        return Verdict(right, right)

    return grade


def checkpoints(path: Path) -> tuple[str, list[str]]:
    folder = path / "checkpoints"
    return os.readlink(folder / "best"), sorted(
        file.name for file in folder.iterdir() if not file.is_symlink()
    )


def test_the_best_checkpoint_is_kept_however_old_it_is(tmp_path):
    """Steps 2 and 3 are equally good: the first of them stays, although no checkpoint was due there and two
    newer ones exist."""
    drive(tmp_path / "run", tiny_run(steps=6, save_every=5, evaluate_every=1, grade=graded_by({2, 3})))
    assert checkpoints(tmp_path / "run") == ("step_000002", ["step_000002", "step_000005", "step_000006"])
    assert checkpoint.load(tmp_path / "run" / "checkpoints" / "best").step == 2


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_the_best_checkpoint_after_a_stop_is_the_unbroken_ones(tmp_path, stop_after):
    settings = {"steps": 4, "save_every": 0, "evaluate_every": 1, "grade": graded_by({2})}
    drive(tmp_path / "a", tiny_run(**settings))
    drive(tmp_path / "b", tiny_run(**settings), stop_after=stop_after)
    drive(tmp_path / "b", tiny_run(**settings))
    assert checkpoints(tmp_path / "a")[0] == checkpoints(tmp_path / "b")[0] == "step_000002"
    name = "checkpoints/step_000002/model.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_best_checkpoint_that_is_damaged_is_best_no_longer(tmp_path):
    settings = {"steps": 3, "save_every": 1, "evaluate_every": 1, "grade": graded_by({3})}
    drive(tmp_path / "run", tiny_run(**settings))
    assert checkpoints(tmp_path / "run")[0] == "step_000003"
    (tmp_path / "run" / "checkpoints" / "step_000003" / "config.json").write_text("{}")
    drive(tmp_path / "run", tiny_run(**settings | {"steps": 4, "grade": graded_by(set())}))
    assert checkpoints(tmp_path / "run") == (
        "step_000002",
        ["step_000002", "step_000003", "step_000003.damaged", "step_000004"],
    )


@pytest.mark.parametrize("save_every", [0, 3])
def test_stopped_after_each_step_and_resumed(whole, tmp_path, save_every):
    told: list[str] = []
    for step in range(4):
        watch = drive(tmp_path / "run", tiny_run(save_every=save_every), stop_after=step)
        told += watch.sentences
        assert watch.first_step == (step or 1)
        assert watch.report is None
        assert not (tmp_path / "run" / "report.json").exists()
    assert told == [
        f"stopped after step {i} of 4; go on with `menon train --resume {tmp_path / 'run'}`" for i in range(4)
    ]
    last = drive(tmp_path / "run", tiny_run(save_every=save_every))
    assert last.sentences == []
    assert final(tmp_path / "run") == final(whole)


def final(path: Path) -> dict:
    """All traces but the checkpoints before the last, which depend on when a run was asked to stop."""
    return {
        name: trace for name, trace in traces(path).items() if not name.startswith("checkpoints/step_000003")
    }


def test_wall_time_adds_up_over_sessions(tmp_path):
    watch = Watching(on_step=lambda report: time.sleep(0.1))
    for step in (1, 2):
        drive(tmp_path / "run", watch=watch, stop_after=step)
    drive(tmp_path / "run", watch=watch)
    assert watch.report is not None
    assert watch.report["wall_s"] > 0.4
    sessions = json.loads((tmp_path / "run" / "sessions.json").read_text())
    assert [(s["first_step"], s["last_step"]) for s in sessions] == [(1, 1), (2, 2), (3, 4)]
    assert watch.report["wall_s"] == sum(s["wall_s"] for s in sessions)


def test_a_finished_run_gives_its_report_again(tmp_path):
    first = drive(tmp_path / "run", tiny_run(steps=1))
    before = traces(tmp_path / "run")
    with opened(tmp_path / "run") as folder:
        again = loop(tiny_run(steps=1), folder, watch := Watching())
    assert again == first.report
    assert "has finished its 1 steps already" in watch.sentences[0]
    assert watch.steps == []
    assert traces(tmp_path / "run") == before


def test_more_steps_than_before_go_on(whole, tmp_path):
    drive(tmp_path / "run", tiny_run(steps=2))
    watch = drive(tmp_path / "run", tiny_run(steps=4))
    assert watch.steps == [3, 4]
    assert traces(tmp_path / "run") == traces(whole)


def test_fewer_steps_than_are_done(tmp_path):
    drive(tmp_path / "run", stop_after=3)
    with pytest.raises(UserError, match="has done 3 steps already; set steps= to 3 or more"):
        drive(tmp_path / "run", tiny_run(steps=2))
    assert drive(tmp_path / "run").steps == [4]


# Damage


def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path):
    drive(tmp_path / "run", stop_after=3)
    weights = tmp_path / "run" / "checkpoints" / "step_000003" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    watch = drive(tmp_path / "run")
    assert watch.first_step == 3
    assert len(watch.sentences) == 1
    assert (
        "step_000003 is damaged (model.safetensors is not as it was written) and is skipped"
        in watch.sentences[0]
    )
    assert traces(tmp_path / "run") == traces(whole)


def test_no_usable_checkpoint(whole, tmp_path):
    drive(tmp_path / "run", tiny_run(save_every=0), stop_after=2)
    (tmp_path / "run" / "checkpoints" / "step_000002" / "state" / "state.json").unlink()
    recorded = [*(tmp_path / "run").glob("*.jsonl"), *(tmp_path / "run").glob("*/*.parquet")]
    before = {file: file.read_bytes() for file in recorded if file.name != "events.jsonl"}
    assert len(before) > 3
    with pytest.raises(UserError, match="run has 2 recorded steps and no checkpoint to go on from; put its "):
        drive(tmp_path / "run")
    assert {file: file.read_bytes() for file in before} == before
    (tmp_path / "run" / "events.jsonl").unlink()  # as a kill before the first checkpoint leaves it
    watch = drive(tmp_path / "run")
    assert watch.sentences[-1] == "there is no usable checkpoint, so the run starts again at step 0"
    assert watch.first_step == 1
    assert watch.evaluations == [2, 4]  # the one before the first step is kept
    assert traces(tmp_path / "run") == traces(whole)


def test_what_a_kill_leaves_behind(whole, tmp_path):
    """Lines and transcripts beyond the checkpoint, a torn line, half-written files of every kind."""
    path = tmp_path / "run"
    drive(path, stop_after=1)
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        with open(path / name, "ab") as file:
            file.write(b'{"step": 2, "tokens/generated": 1}\n{"step": 3, "rew')
    (path / "transcripts" / "step_000002.parquet").write_bytes(b"of another world")
    (path / "transcripts" / "step_000003.parquet.tmp").write_bytes(b"half")
    shutil.copytree(path / "checkpoints" / "step_000001", path / "checkpoints" / "step_000002.tmp")
    (path / "sessions.json.tmp").write_bytes(b"[")
    drive(path)
    assert traces(path) == traces(whole)


def test_weights_that_are_not_restored_whole_are_noticed(tmp_path):
    drive(tmp_path / "run", stop_after=2)

    class Forgetful(TorchLearner):
        def load(self, weights, state):
            super().load({name: weight + 1e-7 for name, weight in weights.items()}, state)

    run = tiny_run()
    models_of(run)["policy"].__class__ = Forgetful
    with pytest.raises(RuntimeError, match="are not those that step 2 ended with"):
        drive(tmp_path / "run", run)


def test_another_machine_is_named(tmp_path):
    drive(tmp_path / "run", stop_after=1)
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    about["machine"]["threads"] = 7
    (tmp_path / "run" / "run.json").write_text(json.dumps(about))
    watch = drive(tmp_path / "run")
    assert watch.sentences == [
        "threads was 7 and is 1, so the run may differ in the last bits from one that never stopped"
    ]


# A full disk


def test_a_disk_that_fills_up_at_any_write_costs_one_sentence(tmp_path):
    """Every write, sync and rename of a session of one step is the first to fail in turn; some of them are
    then resumed."""
    start, count = tmp_path / "start", Disk(tmp_path / "count")
    drive(start, tiny_run(steps=2), stop_after=1)
    shutil.copytree(start, tmp_path / "count")
    with filling(count):
        drive(tmp_path / "count", tiny_run(steps=2))
    assert count.operations > 40
    for room in range(1, count.operations):  # the first write, of the lock, is a courtesy
        path = tmp_path / f"room{room}"
        shutil.copytree(start, path)
        with filling(Disk(path, room)), pytest.raises(UserError) as caught:
            drive(path, tiny_run(steps=2))
        assert "no room left on the disk; everything up to the checkpoint of step " in str(caught.value)
        assert str(caught.value).endswith(f"make room, then go on with `menon train --resume {path}`")
        assert not [*path.rglob("*.tmp")], room
        steps = checkpoint.steps_in(path / "checkpoints")
        assert steps[0] == 1
        assert [checkpoint.load(path / "checkpoints" / f"step_{step:06d}").step for step in steps] == steps
        if room % 6 == 0:
            drive(path, tiny_run(steps=2))
            assert traces(path) == traces(tmp_path / "count"), room
        shutil.rmtree(path)


def test_a_limit_on_file_size(tmp_path):
    """The system itself refuses, to Python and to the Rust library that writes weights."""
    drive(tmp_path / "run", stop_after=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (18_000, hard))
    try:
        with pytest.raises(
            UserError, match="file too large; everything up to the checkpoint of step 1 is kept"
        ):
            drive(tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(file.name for file in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "latest",
        "step_000001",
    ]
    assert drive(tmp_path / "run").steps == [2, 3, 4]


def test_a_disk_that_is_really_full(whole, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs a root that may mount")
    try:
        with pytest.raises(UserError, match="no room left on the disk"):
            drive(tmp_path / "run")
        assert not list((tmp_path / "run").rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path)], check=True)
        drive(tmp_path / "run")
        assert traces(tmp_path / "run") == traces(whole)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# Graders that fail


def failing(at_call: int, count: int):
    calls = iter(range(10**6))

    def grade(rollout: Rollout) -> Verdict:
        if at_call <= next(calls) < at_call + count:
            return Verdict(float("nan"), float("nan"), error=f"no answer to {rollout.prompt.text}")
        return even(rollout)

    return grade


def test_failing_graders_stop_the_run_before_it_learns(whole, tmp_path):
    """Two answers are graded before the first step and after the second, six in each step: calls 16 to 21 are
    step 3's."""
    path = tmp_path / "run"
    with pytest.raises(UserError) as caught:
        drive(path, tiny_run(grade=failing(17, 1), save_every=0))
    sentence = str(caught.value)
    assert (
        "the reward failed on 1 of 6 answers in step 3 (at most 10% may fail), first with: no answer to "
        in sentence
    )
    assert sentence.endswith(f"fix it, then go on with `menon train --resume {path}`")
    assert checkpoint.steps_in(path / "checkpoints") == [2]  # what was learned until then is not lost
    assert not (path / "transcripts" / "step_000003.parquet").exists()
    watch = drive(path)
    assert watch.steps == [3, 4]
    assert final(path) == final(whole)


def test_failing_graders_of_an_evaluation_stop_the_run(tmp_path):
    with pytest.raises(
        UserError, match="the reward failed on 2 of 2 answers in the evaluation before step 1"
    ):
        drive(tmp_path / "run", tiny_run(grade=failing(0, 100)))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    with pytest.raises(UserError, match="in the evaluation after step 2"):
        drive(tmp_path / "run", tiny_run(grade=failing(14, 1), save_every=0))
    assert checkpoint.steps_in(tmp_path / "run" / "checkpoints") == [2]


class FollowsTheLength:
    """Rotary angles that halve once a pass has a token at position 7: a scheme that no configuration names,
    and that the tokens with which a model is checked at the start are too few to show."""

    def __init__(self, model):
        self.rotary = model.base_model.rotary_emb
        self.plain, self.rotary.forward = self.rotary.forward, self

    def __call__(self, x, position_ids, **how):
        return self.plain(x, position_ids / (2 if int(position_ids.max()) >= 7 else 1), **how)


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("waits", [0, 1])
def test_the_policys_first_update_compares_sampler_and_learner(wrong, stops, waits, tmp_path, monkeypatch):
    monkeypatch.setattr("menon.engines.llama_family.FAMILY", ())  # both by the model's own forward
    run = tiny_run("ppo", steps=3, agreement=Agreement(1e-4, stops))
    run = critic_first(run, waits)
    if wrong:
        FollowsTheLength(models_of(run)["policy"].model)
    watch, said = (
        Watching(),
        r"differ by [\d.]+ nats a token on the same weights, and at most 0.0001 is rounding",
    )
    if wrong and stops:
        with pytest.raises(UserError, match=f"{said}; this model cannot be sampled here"):
            drive(tmp_path / "run", run, watch)
        assert watch.steps == list(range(1, 1 + waits))
        return
    drive(tmp_path / "run", run, watch)
    assert watch.steps == [1, 2, 3]
    found = [sentence for sentence in watch.sentences if re.search(said, sentence)]
    assert len(found) == int(wrong)
    assert all("take dtype=float32" in sentence for sentence in found)


def test_a_mismatch_of_nan_is_none_that_rounding_explains():
    run = tiny_run(agreement=Agreement(1e-4, stops=True))
    report = StepReport(1, {"mismatch/abs": float("nan")}, (), {}, np.zeros(1))
    with pytest.raises(UserError, match="differ by nan nats"):
        check_agreement(run, report, print)
    for unchecked in (replace(report, step=2), replace(report, metrics={})):
        check_agreement(run, unchecked, print)


def test_a_few_failing_graders_are_counted():
    from menon.loop import check_graders
    from menon.types import Graded

    bad, good = (Graded(None, Verdict(score, 1.0)) for score in (float("nan"), 1.0))  # type: ignore[arg-type]
    check_graders([bad] + [good] * 9, "step 1", "go on")
    with pytest.raises(UserError, match=r"on 2 of 19 .* a score of NaN; fix it, then go on$"):
        check_graders([bad] * 2 + [good] * 17, "step 1", "go on")
    check_graders([], "step 1", "go on")
    other = Graded(None, NOT_APPLICABLE)  # type: ignore[arg-type]
    check_graders([other] * 50 + [bad] + [good] * 9, "step 1", "go on")
    with pytest.raises(UserError, match="on 2 of 10 answers"):
        check_graders([other] * 50 + [bad] * 2 + [good] * 8, "step 1", "go on")


def test_answers_that_the_reward_does_not_apply_to_stop_nothing(tmp_path):
    """Of step 1 the reward applies to every second answer, of step 2 to none, and later to all. They are
    counted apart from failures, and nothing is learned from them."""
    calls = iter(range(1000))

    def grade(rollout):
        call = next(calls)  # two of each evaluation, six of each step
        off = (2 <= call < 8 and call % 2) or 8 <= call < 16
        return NOT_APPLICABLE if off else even(rollout)

    drive(tmp_path / "run", tiny_run(grade=grade, steps=3))
    view = RunView(tmp_path / "run")
    lines = view.metrics
    assert [line.get("reward/not_applicable", 0) for line in lines] == [3, 6, 0]
    assert [line["reward/failed"] for line in lines] == [0, 0, 0]
    assert lines[1]["reward/mean"] == 0
    numbers = view.evaluation(2)
    assert (numbers["not_applicable"], numbers["n"], numbers["failed"]) == (2, 0, 0)
    row = view.transcripts.rows(2, ["score", "error"])[0]
    assert (math.isnan(row["score"]), row["error"]) == (True, "the reward does not apply to this row")


# Stop requests


@pytest.fixture
def usual_handlers():
    """Whoever started the tests may have them ignore Ctrl-C."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_the_step_and_saves(whole, tmp_path, number):
    def at_step_2(report: StepReport) -> None:
        if report.step == 2:
            os.kill(os.getpid(), number)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    watch = drive(tmp_path / "run", tiny_run(save_every=0), Watching(at_step_2))
    assert watch.steps == [1, 2]
    assert any("stop request received" in sentence for sentence in watch.sentences)
    assert any(
        s == f"stopped after step 2 of 4; go on with `menon train --resume {tmp_path / 'run'}`"
        for s in watch.sentences
    )
    assert checkpoint.steps_in(tmp_path / "run" / "checkpoints") == [2]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    drive(tmp_path / "run")
    assert final(tmp_path / "run") == final(whole)


@pytest.mark.usefixtures("usual_handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_ignored_before_stays_ignored(tmp_path, number):
    signal.signal(number, signal.SIG_IGN)
    watch = drive(tmp_path / "run", tiny_run(), Watching(lambda report: os.kill(os.getpid(), number)))
    assert watch.steps == [1, 2, 3, 4]
    assert signal.getsignal(number) == signal.SIG_IGN


@pytest.mark.usefixtures("usual_handlers")
def test_the_second_signal_ends_at_once(tmp_path):
    def twice(report: StepReport) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while (
            signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):  # another thread may get it: not at once
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    path = tmp_path / "run"
    lost = f"stopped; step 1 is lost; go on with `menon train --resume {path}`"
    with pytest.raises(KeyboardInterrupt, match=lost):
        drive(path, tiny_run(save_every=0), Watching(twice))
    assert checkpoint.steps_in(tmp_path / "run" / "checkpoints") == []


@pytest.mark.parametrize(
    ("saved", "step", "what"),
    [([], 2, "steps 1 to 3 are"), ([2], 2, "step 3 is"), ([4], 4, "the evaluation after step 4 is")],
)
def test_what_a_stop_at_once_loses(tmp_path, saved, step, what):
    with opened(tmp_path / "run") as folder:
        for one in saved:
            (folder.checkpoints / f"step_{one:06d}").mkdir(parents=True)
        assert lost(tiny_run(steps=4), folder, step).startswith(f"stopped; {what} lost; go on with")


def shaped(rollout: Rollout) -> Verdict:
    """A number of a function's that is no truth: the share of a token."""
    score = float(rollout.tokens[rollout.is_action].sum() % 3) / 2
    return Verdict(score, score if score in (0, 1) else math.nan, guessed=True)


def test_a_shaped_reward_has_no_accuracy(tmp_path):
    """Not in an evaluation, a step or the report; the best checkpoint is the one that earns the most."""
    watch = drive(tmp_path / "run", tiny_run(grade=shaped, save_every=1, evaluate_every=1))
    view = RunView(tmp_path / "run")
    assert watch.report is not None
    sides = [*view.evaluations, watch.report["before"], watch.report["after"]]
    assert not any(name.startswith(("accuracy", "best_accuracy", "maj")) for side in sides for name in side)
    assert not any("acc/mean" in line or "groups/mixed" in line for line in view.metrics)
    assert all(0 <= line["groups/varied"] <= 1 for line in view.metrics)
    rewards = {line["step"]: line["reward"] for line in view.evaluations if line["step"]}
    assert view.best() == min(step for step in rewards if rewards[step] == max(rewards.values()))
    with pytest.raises(
        UserError,
        match=r"select=correct needs to know which answers are right, and the reward "
        r"does not say: it gave scores like 0\.5; let it return a bool",
    ):
        drive(tmp_path / "other", tiny_run(grade=shaped, needs_truth=("select=correct",)))


def test_other_threads_hear_nothing_and_work(tmp_path):
    thread = threading.Thread(target=lambda: drive(tmp_path / "run", tiny_run(steps=1)))
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "report.json").exists()
    with stop_requests(lambda sentence: None) as asked:
        assert not asked()


def test_a_stop_before_the_first_step_saves_nothing(tmp_path):
    watch = drive(tmp_path / "run", stop_after=0)
    assert watch.evaluations == [0]
    assert checkpoint.steps_in(tmp_path / "run" / "checkpoints") == []


def test_the_policy_of_the_last_checkpoint_is_the_one_in_memory(tmp_path):
    run = tiny_run(steps=2)
    drive(tmp_path / "run", run)
    again = tiny_run(seed=1)
    again.host.load(tmp_path / "run" / "checkpoints" / "step_000002")
    saved, live = weights_of(again), weights_of(run)
    assert saved.keys() == live.keys()
    assert all(np.array_equal(saved[name], live[name]) for name in live)
