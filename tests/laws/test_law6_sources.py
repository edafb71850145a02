"""Law 6 on sources: a run on a mixture of rows and of its own text, and one on rows alone, go on as if they
had never stopped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from menon.engines.in_process import InProcessHost
from menon.loop import Run, loop
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.source.mixed import Mixed
from menon.source.rows import Rows
from menon.step import Plan
from menon.sync.no_sampler import NoSampler
from menon.types import Example, StepReport
from menon.update.terms import Term, Update
from tiny_run import Watching, models_of, online, opened, tiny_run, traces, weights_of

STEPS = 6


def examples(count: int = 7) -> list[tuple[Example]]:
    """A prompt of two tokens and an answer of three."""
    rng = np.random.default_rng(0)
    is_action = np.array([False, False, True, True, True])
    return [(Example(rng.integers(0, 39, 5).astype(np.int32), is_action, group=i),) for i in range(count)]


def built(kind: str, save_every: int) -> Run:
    """`mixed`: two steps on its own text to one on rows, imitation in both; `rows`: no sampler."""
    run = tiny_run("reinforce", steps=STEPS, save_every=save_every)
    imitation = Term(NLL(), TokenMean(), coef=0.1)
    if kind == "mixed":
        source = Mixed({"own": online(run), "rows": Rows(examples(), 3, seed=1)}, {"own": 2, "rows": 1})
        updates = tuple(replace(u, terms={**u.terms, "nll": imitation}) for u in run.plan.updates)
        return replace(run, source=source, plan=replace(run.plan, updates=updates))
    assert isinstance(run.host, InProcessHost)
    return Run(
        plan=Plan({}, (Update({"nll": imitation}, count=2),), seed=0),
        source=Rows(examples(), 4, seed=1),
        host=run.host,
        channel=NoSampler(run.host),
        steps=STEPS,
        save_every=save_every,
    )


def drive(path: Path, run: Run, watch: Watching) -> None:
    with opened(path) as folder:
        loop(run, folder, watch)


def left(path: Path) -> dict:
    """Also of a run without evaluations, which has no best checkpoint."""
    best = path / "checkpoints" / "best"
    if not best.is_symlink():
        best.symlink_to("none")
    return traces(path)


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.mark.parametrize(("kind", "save_every"), [("mixed", 1), ("mixed", 2), ("rows", 2)])
def test_killed_after_every_step(tmp_path, kind, save_every):
    whole = built(kind, save_every)
    drive(tmp_path / "whole", whole, Watching())
    for last in range(1, STEPS + 1):

        def kill(report: StepReport, last: int = last) -> None:
            if report.step == last:
                raise Killed

        with pytest.raises(Killed):
            drive(tmp_path / "broken", built(kind, save_every), Watching(kill))
    resumed = built(kind, save_every)
    drive(tmp_path / "broken", resumed, Watching())
    assert left(tmp_path / "broken") == left(tmp_path / "whole")
    one, other = weights_of(whole), weights_of(resumed)
    assert all((one[name] == other[name]).all() for name in one)


def test_both_kinds_of_steps_are_learned_from(tmp_path):
    """Steps 2 and 5 are rows: no text, no reward, and the policy moves."""
    seen: list[tuple[int, int, str]] = []
    run = built("mixed", 0)
    drive(
        tmp_path / "run",
        run,
        Watching(lambda done: seen.append((done.step, len(done.graded), done.fingerprint))),
    )
    assert [count for _, count, _ in seen] == [6, 0, 6, 6, 0, 6]
    assert len({fingerprint for *_, fingerprint in seen}) == STEPS
    assert models_of(run).keys() == {"policy"}
