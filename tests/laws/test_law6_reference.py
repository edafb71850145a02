"""Law 6 for a reference that follows the policy: its weights are part of what a resumed run goes on from."""

import copy
from dataclasses import replace

import pytest

from menon.engines.in_process import InProcessHost
from menon.engines.torch_scorer import TorchScorer
from menon.loop import loop
from menon.loss import KL
from menon.loss.aggregation import TokenMean
from menon.update.reference import HardReset, MovingAverage
from menon.update.terms import Term
from tiny_run import Watching, models_of, opened, tiny_run, traces


def built(part, steps: int):
    """GRPO with a KL to a copy of the policy at the start, which moves."""
    run = tiny_run("grpo", steps=steps, save_every=1)
    models = models_of(run)
    policy = models["policy"]
    reference = TorchScorer(copy.deepcopy(policy.model).requires_grad_(False))
    updates = tuple(
        replace(each, terms={**each.terms, "kl": Term(KL(), TokenMean(), coef=0.5)})
        for each in run.plan.updates
    )
    plan = replace(run.plan, updates=updates, reference=part)
    assert isinstance(run.host, InProcessHost)
    return replace(run, plan=plan, host=InProcessHost({**models, "reference": reference}, run.host.exports))


@pytest.mark.parametrize("part", [HardReset(every=2), MovingAverage(rate=0.3)], ids=lambda part: part.kind)
def test_resumed_after_three_steps(tmp_path, part):
    whole = built(part, 5)
    with opened(tmp_path / "whole") as folder:
        loop(whole, folder, Watching())
    with opened(tmp_path / "broken") as folder:
        asked = iter([False, False, False, True])  # before the first step, and after each
        loop(built(part, 5), folder, Watching(), stop=lambda: next(asked))
    resumed = built(part, 5)
    with opened(tmp_path / "broken") as folder:
        loop(resumed, folder, Watching())
    assert traces(tmp_path / "broken") == traces(tmp_path / "whole")
    one, other = (models_of(run)["reference"].weights() for run in (whole, resumed))
    assert all((one[name] == other[name]).all() for name in one)
    start = models_of(built(part, 5))["reference"].weights()
    assert any((one[name] != start[name]).any() for name in one)
