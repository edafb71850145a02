import math

import pytest

from menon.config import changed
from menon.errors import UserError
from menon.recipes import recipe
from menon.rollout.best_of import BestOf
from menon.types import Sampling, Verdict
from scripted import Bound, Queue, ScriptedSampler

SCORES = {0: [0.2, 0.9, 0.9, 0.5], 1: [1.0, math.nan, 1.0, 1.0], 2: [math.nan, math.nan, math.nan, 0.1]}
"""Prompt -> the score of each of its samples."""


def by_table(rollout):
    score = SCORES[rollout.prompt.index][rollout.sample]
    return Verdict(
        score, float(score > 0.5) if score == score else score, error="" if score == score else "no"
    )


def told(request):
    return "x" * (1 + request.sample)


def test_the_best_are_kept_and_ties_go_to_the_earlier_sample():
    """Kept of prompt 0: .9 .9; of 1: the first two graded 1s; of 2: the only graded one. Lengths are
    sample + 1 and an end token: the four samples of a prompt have 2 + 3 + 4 + 5 = 14 tokens."""
    graded, metrics = Bound(BestOf(keep=2), 3, 4)(Queue(), ScriptedSampler(told), by_table)
    assert [(g.rollout.group, g.rollout.sample) for g in graded] == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 3)]
    known = [0.2, 0.9, 0.9, 0.5, 1, 1, 1, 0.1]
    assert {name: float(metric) for name, metric in metrics.items()} == {
        "best_of/written_reward": pytest.approx(sum(known) / 8),
        "best_of/dropped_reward": pytest.approx((0.2 + 0.5 + 1) / 3),
        "best_of/dropped": 12 - 5,
        "best_of/failed": 4,
        "tokens/generated": 3 * 14,
    }


def test_one_of_each_is_the_first_of_the_highest():
    graded, _ = Bound(BestOf(), 2, 4, Sampling(9))(Queue(), ScriptedSampler(told), by_table)
    assert [(g.rollout.group, g.rollout.sample, g.verdict.score) for g in graded] == [
        (0, 1, 0.9),
        (1, 0, 1.0),
    ]


def test_a_failed_grader_is_never_the_best():
    with pytest.raises(UserError, match=r"keeps none of 4 answers, .* failed on all of them, first with: no"):
        Bound(BestOf(), 2, 2)(
            Queue(), ScriptedSampler(told), lambda rollout: Verdict(math.nan, math.nan, error="no")
        )


def test_what_is_dropped_is_noted_too():
    class Noting(Queue):
        heard = 0

        def note(self, graded):
            self.heard += len(graded)

    prompts = Noting()
    Bound(BestOf(), 2, 3)(prompts, ScriptedSampler(told), by_table)
    assert prompts.heard == 6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"keep": 0}, "keep is 0; it must be at least 1"),
        ({"keep": 9}, r"rollout\.keep is 9, and 8 answers are written to a prompt; lower it"),
        (
            {"keep": 1},
            r"advantage\.credit compares the answers to one prompt, and the rollout keeps one of each",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(change, sentence):
    with pytest.raises(UserError, match=sentence):
        changed(recipe("grpo"), {"rollout": {"kind": "best_of", **change}})


def test_its_sizes():
    config = changed(recipe("grpo"), {"rollout": "best_of", "rollout.keep": "4"})
    assert config.source.rollout == BestOf(4)
    size = config.source.rollout.sizes(Bound(BestOf(), 3, 8, Sampling(10)).around)
    assert (size.answers, size.tokens, size.sequences, size.at_once) == (24, 240, 12, 24)
