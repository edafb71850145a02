import math

import pytest

from menon.batch import pack
from menon.errors import UserError
from menon.rollout.greedy import GreedyBaseline
from menon.types import Sampling, Verdict
from scripted import Bound, Queue, ScriptedSampler, is_gold


def script(request):
    """The greedy answer is right for prompt 1 alone."""
    if request.sampling.temperature == 0:
        return "7" if request.prompt.index == 1 else "8"
    return f"{request.prompt.index}.{request.sample}"


def test_the_greedy_answer_is_scored_and_in_no_batch():
    sampler = ScriptedSampler(script)
    graded, metrics = Bound(GreedyBaseline(), 2, 2, Sampling(temperature=0.7))(Queue(), sampler, is_gold)
    assert [g.rollout.text for g in graded] == ["0.0", "0.1", "1.0", "1.1"]
    assert [g.rollout.group for g in graded] == [0, 0, 1, 1]
    assert pack(graded).baseline.tolist() == [0, 0, 1, 1]
    assert sorted(r.sampling.temperature for r in sampler.asked) == [0, 0, 0.7, 0.7, 0.7, 0.7]
    assert {name: float(value) for name, value in metrics.items()} == {
        "greedy/reward": 0.5,
        "greedy/failed": 0,
        "tokens/generated": 4 * 4 + 2 * 2,
    }


def test_a_failed_grader_leaves_no_baseline():
    def grade(rollout):
        return Verdict(math.nan, math.nan, error="no") if rollout.text == "7" else Verdict(0.0, 0.0)

    graded, metrics = Bound(GreedyBaseline(), 2, 1)(Queue(), ScriptedSampler(script), grade)
    assert [math.isnan(g.baseline) for g in graded] == [False, True]
    assert float(metrics["greedy/failed"]) == 1
    with pytest.raises(UserError, match="at least 1"):
        Bound(GreedyBaseline(), 0, 1)
