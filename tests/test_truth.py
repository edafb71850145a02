"""Which answers are right, where a reward gives numbers: what a result says of it, and when that counts."""

import math

import numpy as np
import pytest

from helpers import prompt
from menon.errors import UserError
from menon.reward.code.signatures import Asked, judge
from menon.reward.grade import Grading
from menon.reward.rules import Mix, Weighted
from menon.truth import check_known, settled
from menon.types import Completion, Graded, Request, Rollout, Verdict

NAN = math.nan
ASKED = Asked("1+2=", "#3", "3")


@pytest.mark.parametrize(
    ("result", "acc", "guessed"),
    [
        (True, 1.0, True),
        (False, 0.0, True),
        (1, 1.0, True),
        (0.0, 0.0, True),
        (np.float32(1), 1.0, True),
        (0.3, NAN, True),
        (2, NAN, True),
        (-1.0, NAN, True),
        ({"score": 0.3, "acc": 1}, 1.0, False),
        ({"score": 0.3, "acc": True}, 1.0, False),
        ({"score": 1.0}, 1.0, True),
        ({"score": 0.7, "form": 1.0}, NAN, True),
        (Verdict(0.7, 1.0), 1.0, False),
        (Verdict(1.0, NAN), NAN, False),
    ],
)
def test_what_a_result_says_of_correctness(result, acc, guessed):
    verdict = judge(lambda prompt, completion, answer: result, "menon", ASKED)
    assert verdict.acc == acc or (math.isnan(acc) and math.isnan(verdict.acc))
    assert verdict.guessed == guessed


def graded(*verdicts: Verdict) -> list[Graded]:
    one = np.zeros(1, dtype=np.float32)
    number = np.zeros(1, dtype=np.int32)
    made = Completion(Request(prompt(0, "1+2=", "3")), number, one, one, one, number, "stop", "#3")
    return [Graded(Rollout.of(made, 0), verdict) for verdict in verdicts]


def number(score: float) -> Verdict:
    return judge(lambda prompt, completion, answer: score, "menon", ASKED)


@pytest.mark.parametrize(
    ("verdicts", "known", "accs"),
    [
        ([number(0), number(1)], True, [0, 1]),
        ([number(0), number(1)], False, [NAN, NAN]),  # the first evaluation had other numbers
        ([number(0), number(1), number(0.5)], True, [NAN, NAN, NAN]),
        ([number(0.5), Verdict(1.0, 1.0)], True, [NAN, 1]),  # one that is stated stays
        ([number(1), Verdict(NAN, NAN, error="it raised")], True, [1, NAN]),  # a failure is no number
        ([Verdict(0.5, NAN), number(1)], True, [NAN, 1]),
    ],
)
def test_numbers_are_a_truth_if_all_are_0_or_1(verdicts, known, accs):
    assert [g.verdict.acc for g in settled(graded(*verdicts), known)] == pytest.approx(accs, nan_ok=True)


def test_the_task_knows_where_the_reward_does_not():
    def task(prompt: str, completion: str, answer: str) -> float:
        return float(completion == f"#{answer}")

    def asks(result: object) -> Verdict:
        return Grading(lambda prompt, completion, answer: result, truth=task)(graded(number(0))[0].rollout)

    for result, acc in ((0.3, 1), (True, 1), (0.0, 1), ({"score": 0.3, "acc": 0}, 0), (Verdict(2, NAN), 1)):
        assert (asks(result).acc, asks(result).guessed) == (acc, False)
    assert math.isnan(asks(None).acc)  # a failed grader: its answer is in no number


def test_of_a_mix_a_stated_acc_counts_before_a_guessed_one():
    def own(prompt: str, completion: str, answer: str) -> float:
        return 0.5

    mix = Mix({"own": Weighted(own), "math": 1.0})  # type: ignore[arg-type]
    stated = mix("1+2=", "\\boxed{3}", "3")
    assert (stated.score, stated.acc, stated.guessed) == (1.5, 1.0, False)
    alone = Mix({"own": Weighted(own), "format": 1.0})("1+2=", "3", "3")  # type: ignore[arg-type]
    assert (math.isnan(alone.acc), alone.guessed) == (True, True)


def test_a_part_that_needs_the_truth_says_so():
    check_known(graded(number(0), number(1)), "select=correct")
    check_known(graded(Verdict(NAN, NAN, error="it raised")), "select=correct")
    with pytest.raises(
        UserError, match=r"select=correct needs .* like 0\.25; let it return a bool, or \{'score'"
    ):
        check_known(settled(graded(number(1), number(0.25))), "select=correct")
