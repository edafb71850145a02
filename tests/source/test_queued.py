"""Steps written ahead: old by so many versions and no more, the same on every machine, and none lost."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.errors import UserError
from menon.loop import Run, loop
from menon.record.reader import RunView
from menon.record.transcripts import read_transcript
from menon.source.queued import Queued
from menon.source.rows import Rows
from menon.sync.by_copy import ByCopy
from menon.types import StepReport
from sources import Drawn, Watched, drawn_by, examples, report, rows_in, sleepy
from tiny_run import Watching, models_of, online, opened, tiny_run, traces, weights_of

STEPS = 6


def queued(staleness: int, seed: int = 0, **settings: Any) -> tuple[Run, Watched, Drawn]:
    """A tiny run on a sampler with weights of its own, whose text is written ahead now and then slowly."""
    run = tiny_run(steps=STEPS, **settings)
    source, policy = online(run), models_of(run)["policy"]
    source.sampler = TorchSampler(own_copy(policy.model, torch.float32), source.sampler.tokenizer, seed=0)
    drawn, watched = drawn_by(run), Watched(source, sleepy(seed))
    run = replace(
        run, source=Queued(watched, staleness), channel=ByCopy(policy, source.sampler), evaluate=None
    )
    return run, watched, drawn


def drive(run: Run, path: Path, watch: Watching | None = None) -> None:
    try:
        with opened(path) as folder:
            loop(run, folder, watch or Watching())
    finally:
        run.source.close()


def numbers(path: Path) -> dict[str, Any]:
    """What a run without evaluations leaves behind."""
    (path / "checkpoints" / "best").symlink_to("none")
    return traces(path)


def test_none_ahead_is_the_synchronous_run_bit_for_bit(tmp_path):
    plain, (run, watched, _) = tiny_run(steps=STEPS, evaluate=None), queued(0)
    drive(plain, tmp_path / "plain")
    drive(run, tmp_path / "queued")
    assert numbers(tmp_path / "plain") == numbers(tmp_path / "queued")
    assert watched.calls == [
        call for step in range(1, STEPS + 1) for call in ("next", "learned", f"published {step}")
    ] + ["close"]
    one, other = weights_of(plain), weights_of(run)
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("staleness", [1, 2])
def test_versions_are_at_most_so_old_and_the_run_is_the_same_however_long_writing_takes(tmp_path, staleness):
    """With the weights' version v at the start of step v + 1: the first steps are fresher, all others as old
    as they may be."""
    ages: list[int] = []

    def see(done: StepReport) -> None:
        versions = {version for g in done.graded for version in g.rollout.version[g.rollout.is_action]}
        assert len(versions) == 1
        ages.append(done.step - 1 - int(versions.pop()))

    for seed in (1, 2):
        run, *_ = queued(staleness, seed)
        drive(run, tmp_path / str(seed), Watching(see))
    assert ages == 2 * ([*range(staleness), *[staleness] * (STEPS - staleness)])
    waits = [event for event in RunView.open(tmp_path / "1").events if event["kind"] == "waited"]
    assert [event["step"] for event in waits] == list(range(STEPS))
    assert all(0 < event["seconds"] < 60 for event in waits)
    assert numbers(tmp_path / "1") == numbers(tmp_path / "2")


def test_it_writes_while_the_step_before_is_learned():
    """The second step is begun before the first is learned, and it is done when `learned` returns."""
    watched = Watched(Rows(examples(9), 1, seed=None), lambda step: time.sleep(0.1))
    source = Queued(watched, staleness=1)
    gathered = source.next()
    assert watched.asked <= 2
    source.learned(report(1, gathered))
    assert watched.calls == ["next", "next", "learned"]
    source.published(1)
    assert rows_in(source.next()) == [1]
    source.close()


def test_an_error_comes_at_its_own_step_and_its_prompts_are_not_lost():
    def fail(step: int) -> None:
        if step == 3:
            raise OSError("the server is gone")

    source = Queued(Watched(Rows(examples(9), 1, seed=None), fail), staleness=2)
    for step in (1, 2):
        gathered = source.next()
        assert rows_in(gathered) == [step - 1]
        source.learned(report(step, gathered))
        source.published(step)
    state = source.state()
    for _ in range(2):
        with pytest.raises(OSError, match="the server is gone"):
            source.next()
    source.close()
    again = Queued(Rows(examples(9), 1, seed=None), staleness=2)
    again.load(state)
    assert rows_in(again.next()) == [2]
    again.close()


def test_what_was_taken_before_an_error_is_asked_again():
    """The inner source fails after it has taken its rows, as a rollout does whose grader breaks."""

    class Breaks(Rows):
        broken = False

        def next(self):
            gathered = super().next()
            if self._taken == 2 and self.broken:
                raise OSError("broken")
            return gathered

    inner = Breaks(examples(9), 1, seed=None)
    inner.broken = True
    source = Queued(inner, staleness=1)
    gathered = source.next()
    source.learned(report(1, gathered))
    again = Queued(Rows(examples(9), 1, seed=None))
    again.load(source.state())
    assert rows_in(again.next()) == [1]
    source.close()


@pytest.mark.parametrize("staleness", [1, 2])
def test_a_resumed_run_trains_no_prompt_twice_and_loses_none(tmp_path, staleness):
    """Law 10 as far as one process goes: over kills after every step the multiset of trained prompts is that
    of the prompts in the order of drawing. What was written ahead and lost is drawn again."""

    class Killed(BaseException):
        """Nothing catches it, as nothing catches a kill."""

    for last in (1, 2, 4, 5, None):
        run, *_ = queued(staleness, seed=staleness)

        def see(done: StepReport, last: int | None = last) -> None:
            if done.step == last:
                raise Killed

        try:
            drive(run, tmp_path / "run", Watching(see))
        except Killed:
            assert last is not None
    transcripts = sorted((tmp_path / "run" / "transcripts").iterdir())
    assert len(transcripts) == STEPS
    trained = [row["prompt_index"] for file in transcripts for row in read_transcript(file)]
    whole = drawn_by(tiny_run(steps=STEPS))
    whole.take(3 * STEPS)
    assert trained == [index for index, _ in whole.taken for _ in range(2)]  # two answers to each


def test_after_a_resume_it_goes_on_with_what_was_not_learned():
    """Two are written ahead and lost with the process; the next one starts with them."""
    source = Queued(Rows(examples(20), 2, seed=3), staleness=2)
    whole = Rows(examples(20), 2, seed=3)
    for step in range(1, 4):
        gathered = source.next()
        assert rows_in(gathered) == rows_in(whole.next())
        source.learned(report(step, gathered))
        source.published(step)
    state = source.state()
    source.close()
    again = Queued(Rows(examples(20), 2, seed=3), staleness=2)
    again.load(state)
    assert [rows_in(again.next()) for _ in range(3)] == [rows_in(whole.next()) for _ in range(3)]
    again.close()


def test_less_than_none_is_refused():
    with pytest.raises(UserError, match="staleness is -1; it must be at least 0"):
        Queued(Rows(examples(2), 1), staleness=-1)


def test_what_was_lost_is_written_by_the_newest_weights_so_its_bits_are_others(tmp_path):
    """After step 3 an undisturbed run has step 4 written by version 2; a resumed one writes it by version 3.
    So a run with staleness does not have the bits of one that never stopped, whatever its text records."""
    versions = []
    for name, sessions in (("whole", (STEPS,)), ("parts", (3, STEPS))):
        for steps in sessions:
            run, *_ = queued(1)
            drive(replace(run, steps=steps), tmp_path / name)
        view = RunView.open(tmp_path / name)
        of_step = [
            {
                v
                for row in view.transcripts.rows(step)
                for v, a in zip(row["version"], row["is_action"], strict=True)
                if a
            }
            for step in range(1, STEPS + 1)
        ]
        versions.append([version for one in of_step for version in one])
    assert versions == [[0, 0, 1, 2, 3, 4], [0, 0, 1, 3, 3, 4]]
