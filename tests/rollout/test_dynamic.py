import math

import pytest

from menon.errors import UserError
from menon.rollout.dynamic import DynamicSampling
from menon.types import Verdict
from scripted import Bound, Queue, ScriptedSampler, is_gold


def correct(counts):
    """Prompt i is answered rightly in its first counts[i] samples, later prompts never."""
    return ScriptedSampler(
        lambda request: "7" if request.sample < dict(enumerate(counts)).get(request.prompt.index, 0) else "8"
    )


def numbers(counts):
    return {name.removeprefix("dynamic/"): float(metric) for name, metric in counts.items()}


def test_refills_until_enough_groups_are_kept_with_exact_counts():
    # of 4 samples each, correct:      round 1: 0, 4    round 2: 2, 0    round 3: 4, 4    round 4: 1, 3
    graded, counts = Bound(DynamicSampling(), 2, 4)(Queue(), correct([0, 4, 2, 0, 4, 4, 1, 3]), is_gold)
    assert [g.rollout.prompt.index for g in graded] == [2] * 4 + [6] * 4
    assert [g.rollout.group for g in graded] == [0] * 4 + [1] * 4
    assert [g.verdict.acc for g in graded] == [1, 1, 0, 0, 1, 0, 0, 0]
    assert numbers(counts) == {
        "groups_generated": 8,
        "groups_kept": 3,
        "all_correct": 3,
        "all_wrong": 2,
        "ungraded": 0,
        "failed_answers": 0,
        "tokens/generated": 64,  # 32 answers of one digit and an end token
        "rounds": 4,
    }


def test_surplus_is_dropped_in_prompt_order_though_it_arrives_first():
    prompts = Queue()
    graded, counts = Bound(DynamicSampling(prompts_per_round=4), 2, 2)(
        prompts, correct([1, 0, 1, 1]), is_gold
    )
    assert [g.rollout.prompt.index for g in graded] == [
        0,
        0,
        2,
        2,
    ]  # the sampler answers prompt 3 before all others
    assert numbers(counts)["groups_kept"] == 3
    assert prompts.taken == 4


def test_range_is_strict_on_both_sides():
    graded, _ = Bound(DynamicSampling(lo=0.25, hi=0.75), 1, 4)(Queue(), correct([1, 3, 2]), is_gold)
    assert {g.rollout.prompt.index for g in graded} == {2}


def test_selects_by_raw_correctness_not_by_the_shaped_score():
    def shaped(rollout):
        return Verdict(score=rollout.sample / 10, acc=0.0)

    with pytest.raises(UserError, match="3 at or below 0"):
        Bound(DynamicSampling(max_rounds=3), 1, 4)(Queue(), correct([]), shaped)


def test_failed_grades_are_left_out_of_the_mean():
    def failing(rollout):
        if rollout.sample == 0 or rollout.prompt.index == 0:
            return Verdict(math.nan, math.nan, error="boom")
        return is_gold(rollout)

    # Prompt 1: its only right answer cannot be graded, so the rest is all wrong. Prompt 2: one right, one
    # wrong remain.
    graded, counts = Bound(DynamicSampling(), 1, 3)(Queue(), correct([0, 1, 2]), failing)
    assert {g.rollout.prompt.index for g in graded} == {2}
    assert (numbers(counts)["ungraded"], numbers(counts)["all_wrong"], numbers(counts)["failed_answers"]) == (
        1,
        1,
        5,
    )


def test_round_limit_trains_on_what_is_there():
    graded, counts = Bound(DynamicSampling(max_rounds=2, min_groups=2), 3, 2)(
        Queue(), correct([1, 0, 0, 0, 1, 2]), is_gold
    )
    assert [g.rollout.prompt.index for g in graded] == [0, 0, 4, 4]
    assert [g.rollout.group for g in graded] == [0, 0, 1, 1]
    assert numbers(counts)["rounds"] == 2


def test_round_limit_with_too_few_groups_says_what_to_change():
    with pytest.raises(UserError) as caught:
        Bound(DynamicSampling(max_rounds=2, min_groups=2), 2, 2)(Queue(), correct([1, 2, 0, 0]), is_gold)
    assert str(caught.value) == (
        "dynamic sampling kept 1 of 4 groups in 2 rounds and needs 2 (1 with accuracy at or above 1, 2 at "
        "or below 0). "
        "Use easier or harder questions, more samples_per_prompt or more max_rounds."
    )


def test_round_limit_with_a_broken_grader_shows_its_error():
    broken = Verdict(math.nan, math.nan, error="ZeroDivisionError in my.py")
    with pytest.raises(
        UserError, match=r"4 answers could not be graded, the first because: ZeroDivisionError in my\.py"
    ):
        Bound(DynamicSampling(max_rounds=2), 1, 2)(Queue(), correct([]), lambda rollout: broken)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"samples_per_prompt": 1}, "no group of 1 can have an accuracy between 0.0 and 1.0"),
        ({"lo": 0.3, "hi": 0.4}, "no group of 4 can have an accuracy between 0.3 and 0.4"),
        ({"lo": 0.5, "hi": 0.5}, "no accuracy lies between"),
        ({"max_rounds": 0}, "at least 1"),
        ({"min_groups": 3}, "min_groups 3 of rollout is more than the 2 prompts_per_step"),
    ],
)
def test_settings_that_can_never_work_are_refused(wrong, sentence):
    sizes = (wrong.pop("prompts_per_step", 2), wrong.pop("samples_per_prompt", 4))
    with pytest.raises(UserError, match=sentence):
        Bound(DynamicSampling(**wrong), *sizes)
