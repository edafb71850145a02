"""A run that loses what it had learned is named; one whose evaluations differ by chance is not."""

import math

import numpy as np
import pytest

from menon.record.losing import ALARMS, errors_paired, lost, tail
from menon.record.signs import after_evaluation
from menon.record.trends import trends

SETTINGS = {"learning_rate": 1e-3, "max_new_tokens": 60, "prompts_per_step": 8, "samples_per_prompt": 8}


class Stored:
    """The answers of evaluations: one to each question, right or wrong."""

    def __init__(self, right_E_Q):
        self.right = right_E_Q
        self.steps = list(range(0, 10 * len(right_E_Q), 10))

    def rows(self, step, columns):
        assert columns in (["prompt_index", "acc"], ["prompt_index", "score"])
        right = self.right[step // 10]
        return [{"prompt_index": q, columns[1]: float(one)} for q, one in enumerate(right)]


def lines_of(right_E_Q, name="accuracy"):
    """The line of each evaluation, with the usual interval of a share."""
    found = []
    for place, right in enumerate(right_E_Q):
        share, n = float(np.mean(right)), len(right)
        half = 1.96 * math.sqrt(share * (1 - share) / n)
        ends = {f"{name}_low": share - half, f"{name}_high": share + half}
        found.append({"step": 10 * place, name: share, "n": float(n), **ends})
    return found


def first_right(count, of=100):
    return [q < count for q in range(of)]


def test_the_test_by_hand():
    """12 questions fell and 4 rose: (12 - 4 - 1) / sqrt(16) = 1.75. Of two answers to a question the mean
    moves in halves: falls of 1, .5 and .5 are (2 - .5) / sqrt(1.5)."""
    assert errors_paired([1.0] * 12 + [-1.0] * 4 + [0.0] * 50) == 1.75
    assert errors_paired([1.0, 0.5, 0.5]) == pytest.approx(1.5 / math.sqrt(1.5))
    assert errors_paired([0.0]) == errors_paired([-1.0]) == 0
    assert tail(1.644854) == pytest.approx(0.05, rel=1e-5)


def test_a_loss_is_named_with_its_numbers():
    """Before step 1 30 of 100 are right, after step 10 80, after step 20 50: 30 fell and none rose, so
    (30 - 1) / sqrt(30) = 5.3 standard errors."""
    right = [first_right(30), first_right(80), first_right(50)]
    sign = lost(lines_of(right), SETTINGS, Stored(right))
    assert (sign.kind, sign.setting) == (
        "lost",
        "begin again from the checkpoint of step 10, and lower learning_rate, now 0.001",
    )
    assert sign.evidence == (
        "the accuracy on 100 held-out questions was 0.8 after step 10 and is 0.5 after step 20, 5.3 standard "
        "errors less: the run loses what it had learned"
    )
    assert after_evaluation(lines_of(right), [], SETTINGS, Stored(right)) == sign
    fallen = lost(lines_of(right[1:]), SETTINGS, Stored(right[1:]))
    assert fallen.evidence.endswith("the run loses what the model could")
    assert fallen.setting == "lower learning_rate, now 0.001"


def test_without_stored_answers_the_intervals_decide():
    """.8 and .5 of 100: .3 / sqrt(.0016 + .0025) = 4.7 standard errors. Of 10 questions that is 1.5, which is
    not enough."""
    right = [first_right(30), first_right(80), first_right(50)]
    sign = lost(lines_of(right), SETTINGS, None)
    assert "4.7 standard errors less" in sign.evidence
    few = [first_right(3, 10), first_right(8, 10), first_right(5, 10)]
    assert lost(lines_of(few), SETTINGS, None) is None
    bare = [{name: line[name] for name in ("step", "accuracy")} for line in lines_of(right)]
    assert lost(bare, SETTINGS, None) is None


def test_a_reward_counts_where_accuracy_is_not_known():
    right = [first_right(30), first_right(80), first_right(50)]
    lines = [line | {"accuracy": None} for line in lines_of(right, "reward")]
    assert lost(lines, SETTINGS, Stored(right)).evidence.startswith("the reward on 100 held-out questions")


@pytest.mark.parametrize("counts", [(30, 80), (30, 80, 78), (30, 80, 50, 80), (80,), (50, 50, 50)])
def test_runs_that_keep_what_they_learned_are_left_alone(counts):
    right = [first_right(count) for count in counts]
    assert lost(lines_of(right), SETTINGS, Stored(right)) is None


def test_a_small_part_of_a_large_gain_is_no_loss():
    """10 of 1,000 questions fell of a gain of 600: certain, and no sign."""
    right = [first_right(count, 1000) for count in (200, 800, 780)]
    assert errors_paired([1.0] * 20) > 4
    assert lost(lines_of(right), SETTINGS, Stored(right)) is None


@pytest.mark.parametrize("stored", [True, False], ids=["paired", "by the intervals"])
@pytest.mark.parametrize("rises", [0.0, 0.4], ids=["level", "rising"])
def test_noise_alone_is_named_in_at_most_a_twentieth_of_1000_runs(stored, rises):
    """Ten evaluations of 60 questions, each question with a chance of its own that never falls; a run counts
    if the rule speaks after any of them."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        begin = random.beta(1, 1, 60) * (1 - rises)
        chances = [begin + rises * min(1, evaluation / 4) for evaluation in range(10)]
        right = np.array([random.random(60) < chance for chance in chances])
        lines, answers = lines_of(right), Stored(right) if stored else None
        alarms += any(lost(lines[:end], SETTINGS, answers) for end in range(2, 11))
    assert alarms <= ALARMS * 1000


def test_a_loss_of_a_third_is_found_in_most_runs():
    """.8 of 200 questions after the third evaluation, .55 after the sixth."""
    random = np.random.default_rng(1)
    found = 0
    for _ in range(200):
        chances = np.clip(
            random.normal(0, 0.1, 200)[None] + np.array([0.3, 0.6, 0.8, 0.75, 0.65, 0.55])[:, None], 0, 1
        )
        right = random.random(chances.shape) < chances
        found += lost(lines_of(right), SETTINGS, Stored(right)) is not None
    assert found >= 180


def step_lines(lengths, rewards, accuracies, cut):
    names = ("len/mean", "reward/mean", "acc/mean", "trunc_rate")
    rows = zip(lengths, rewards, accuracies, cut, strict=True)
    return [dict(zip(names, row, strict=True)) | {"reward/std": 0.2, "step": i} for i, row in enumerate(rows)]


def kinds(lines, **settings):
    found = trends(lines, {**SETTINGS, "reward": "mine.py:nines", **settings})
    return {sign.kind: sign.sentence for sign in found if sign.kind in ("long", "cut")}


def test_answers_that_a_reward_makes_long_need_no_more_room():
    """The reward and the length grow, and the share of right answers does not: `long` says what to change,
    and raises no limit."""
    lines = step_lines([20, 30, 50, 55], [0.3, 0.6, 1.2, 1.4], [0.3, 0.3, 0.3, 0.28], [0.0, 0.1, 0.5, 0.6])
    assert kinds(lines)["long"] == (
        "answers grow with the reward, and no more of them are right: 52.5 tokens, 20.0 in step 1, reward "
        "1.3, 0.3 in step 1; 55% are cut at max_new_tokens=60; look at what reward=mine.py:nines pays for in "
        "long answers, or charge for length (advantage.price={kind: linear_length}); more room would be "
        "filled, too"
    )


@pytest.mark.parametrize(
    ("lengths", "rewards", "accuracies"),
    [
        ([20, 30, 50, 55], [0.3, 0.4, 0.6, 0.7], [0.3, 0.4, 0.6, 0.7]),  # longer answers are right
        ([50, 50, 50, 55], [0.3, 0.6, 1.2, 1.4], [0.3, 0.3, 0.3, 0.3]),  # they have not grown
        ([20, 30, 50, 55], [0.3, 0.3, 0.3, 0.3], [0.3, 0.3, 0.3, 0.3]),  # they earn no more
        ([20, 30, 50, 55], [0.3, 0.6, 1.2, 1.4], [math.nan] * 4),  # nobody knows which are right
    ],
)
def test_other_cut_answers_need_room(lengths, rewards, accuracies):
    lines = step_lines(lengths, rewards, accuracies, [0.0, 0.1, 0.5, 0.6])
    found = kinds(lines)
    assert list(found) == ["cut"]
    assert found["cut"].endswith("raise max_new_tokens")
