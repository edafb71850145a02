"""Two results, question by question."""

from dataclasses import replace

import numpy as np
import pytest

from menon.errors import UserError
from menon.eval.compare import compare_results, mcnemar
from menon.eval.run import Item

NAN = float("nan")


def item(number: int, acc: tuple[float, ...], kind: tuple[int, ...] = ()) -> Item:
    n = len(acc)
    return Item(number, f"k{number}", "7", acc, acc, ("x",) * n, kind, (3,) * n, ("stop",) * n)


def single(*accs: float) -> list[Item]:
    return [item(number, (acc,)) for number, acc in enumerate(accs)]


def test_mcnemar_by_hand():
    assert mcnemar(1, 9) == 2 * (1 + 10) / 1024
    assert mcnemar(9, 1) == mcnemar(1, 9)
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(3, 3) == 1.0  # the doubled tail is more than everything


def test_a_difference_of_pairs():
    a, b = single(*[1] * 10, *[0] * 30), single(*[1] * 9, 0, *[1] * 9, *[0] * 21)
    found = compare_results(a, b)
    assert (found.n, found.a, found.b, found.difference) == (40, 0.25, 0.45, pytest.approx(0.2))
    assert (found.judged, found.only_a, found.only_b, found.p) == ("first sample", 1, 9, mcnemar(1, 9))
    spread = 1.96 * (np.var([-1] + [1] * 9 + [0] * 30) / 40) ** 0.5
    assert (found.low, found.high) == (
        pytest.approx(0.2 - spread, abs=0.03),
        pytest.approx(0.2 + spread, abs=0.03),
    )
    back = compare_results(b, a)
    assert (back.difference, back.only_a, back.only_b, back.p) == (pytest.approx(-0.2), 9, 1, found.p)


def test_pairing_makes_the_interval_narrow():
    """B is right where A is, and on eight questions more: unpaired, the interval would be .28 wide and hold
    0."""
    a = single(*[1] * 50, *[0] * 50)
    b = single(*[1] * 58, *[0] * 42)
    found = compare_results(a, b)
    assert found.low > 0
    assert found.high - found.low < 0.14


def test_equal_results_do_not_differ():
    a = single(1, 0, 1)
    found = compare_results(a, a)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1.0)


def test_order_does_not_matter_and_votes_are_used_where_there_are_some():
    a = [item(0, (1.0, 0.0, 0.0), (0, 1, 1)), item(1, (1.0, 1.0, 0.0), (0, 0, 1))]  # votes: wrong, right
    b = [item(1, (0.0, 0.0, 1.0), (0, 0, 1)), item(0, (0.0, 1.0, 1.0), (0, 1, 1))]  # votes: wrong, right
    found = compare_results(a, b)
    assert (found.judged, found.only_a, found.only_b) == ("majority", 1, 1)
    assert (found.a, found.b) == (pytest.approx(0.5), pytest.approx(0.5))
    mixed = compare_results(a, [replace(x, kind=()) for x in b])
    assert (mixed.judged, mixed.only_a, mixed.only_b) == ("first sample", 2, 0)


def test_other_questions_are_refused():
    with pytest.raises(
        UserError, match=r"different questions \(3 and 2, 2 of them the same\); evaluate both on the same set"
    ):
        compare_results(single(1, 0, 1), single(1, 0))
    other = [replace(x, key="other") for x in single(1, 0)]
    with pytest.raises(UserError, match="0 of them the same"):
        compare_results(single(1, 0), other)


def test_what_could_not_be_graded_is_left_out():
    found = compare_results(single(1, 0, NAN, 1), single(1, 1, 1, NAN))
    assert (found.n, found.a, found.b, found.only_a, found.only_b) == (2, 0.5, 1.0, 0, 1)
    with pytest.raises(UserError, match="no question could be graded in both"):
        compare_results(single(NAN, 1), single(1, NAN))


def test_rewards_are_compared_where_no_answer_is_known_to_be_right():
    """Rewards .25, .5, 1 and .5, .5, .5: differences .25, 0, -.5, so each is higher once."""
    a, b = (
        [replace(x, acc=(NAN,), score=(score,)) for x, score in zip(single(0, 0, 0), scores, strict=True)]
        for scores in ((0.25, 0.5, 1.0), (0.5, 0.5, 0.5))
    )
    found = compare_results(a, b)
    assert (found.measure, found.judged, found.n) == ("reward", "mean reward", 3)
    assert (found.a, found.b) == (pytest.approx(1.75 / 3), 0.5)
    assert found.difference == pytest.approx(-0.25 / 3)
    assert (found.only_a, found.only_b, found.p) == (1, 1, 1.0)
    known = [replace(a[0], acc=(1.0,)), *a[1:]]
    assert compare_results(known, known).measure == "accuracy"
