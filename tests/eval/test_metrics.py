"""avg@k, pass@k, maj@k and intervals against numbers worked out on paper and against recorded ones."""

import json
from itertools import combinations

import numpy as np
import pytest

from menon.errors import UserError
from menon.eval.metrics import average, kinds, majority, pass_at_k, passed, powers_up_to, votes
from menon.intervals import interval
from menon.streams import stream

NAN = float("nan")


def acc(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def kind(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def any_rng() -> np.random.Generator:
    return stream(0, "test")


@pytest.mark.parametrize(
    ("n", "correct", "k", "expected"),
    [
        (10, 3, 1, 0.3),
        (10, 3, 5, 0.916667),
        (16, 1, 8, 0.5),
        (4, 4, 4, 1.0),
        (4, 0, 2, 0.0),
        (1, 1, 1, 1.0),
        (5, 4, 2, 1.0),
    ],
)
def test_pass_at_k(n, correct, k, expected):
    assert pass_at_k(n, correct, k) == pytest.approx(expected, abs=5e-7)


def test_pass_at_k_is_the_mean_over_every_subset_and_the_published_product():
    for n, correct, k in [(6, 2, 3), (7, 1, 7), (8, 5, 2)]:
        right = [1] * correct + [0] * (n - correct)
        subsets = list(combinations(right, k))
        assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), rel=1e-14)
    product = 1.0 - np.prod(1.0 - 100 / np.arange(2000 - 3 + 1, 2001))
    assert pass_at_k(2000, 3, 100) == pytest.approx(product, rel=1e-10)


def test_pass_at_k_agrees_with_the_recorded_numbers(shared):
    for case in json.loads((shared / "golden" / "human_eval.pass_at_k.json").read_text())["cases"]:
        counts = zip(*(case["inputs"][name]["data"] for name in ("num_samples", "num_correct")), strict=True)
        found = [pass_at_k(n, c, case["settings"]["k"]) for n, c in counts]
        assert found == pytest.approx(case["outputs"]["pass_at_k"]["data"], rel=1e-8, abs=1e-10)
        assert np.mean(found) == pytest.approx(case["outputs"]["mean"], rel=1e-8)


@pytest.mark.parametrize(("n", "k"), [(4, 5), (4, 0), (0, 1)])
def test_pass_at_k_of_too_few_samples_is_refused(n, k):
    with pytest.raises(
        UserError, match=f"pass@{k} needs at least {max(k, 1)} samples of each question and there are {n}"
    ):
        pass_at_k(n, 0, k)


def test_failed_graders_are_in_no_number():
    assert average(acc(1, 0, NAN, 1)) == pytest.approx(2 / 3)
    assert np.isnan(average(acc(NAN, NAN)))
    assert passed(acc(1, 0, NAN, 0), 2) == pytest.approx(2 / 3)  # 1 - C(2,2)/C(3,2)
    assert np.isnan(passed(acc(1, NAN), 2))
    assert majority(acc(NAN, NAN, 1), kind(0, 0, 1), 1, any_rng()) == 1.0
    assert np.isnan(majority(acc(NAN, 1), kind(0, 1), 2, any_rng()))


@pytest.mark.parametrize(
    ("accs", "kinds_", "expected"),
    [
        ((0, 1, 1, 0), (0, 1, 1, 2), 1.0),  # two against one each
        ((0, 1, 1, 0), (0, 1, 1, 0), 0.0),  # a tie: the answer stated first
        ((1, 0, 0, 0), (0, -1, -1, -1), 1.0),  # one vote against three that state nothing
        ((0, 0), (-1, -1), 0.0),  # nobody votes
        ((1,), (-1,), 0.0),  # right by its grader and yet nothing to vote for
        (
            (0, 0, 1, 1, 1),
            (-1, 0, 1, 0, 1),
            0.0,
        ),  # 0 and 1 have two votes each, 0 was first and its first sample is wrong
    ],
)
def test_majority(accs, kinds_, expected):
    assert majority(acc(*accs), kind(*kinds_), len(accs), any_rng()) == expected


def test_few_subsets_are_all_counted():
    accs, kinds_ = acc(0, 1, 1, 0, 1, 0), kind(0, 1, 1, 0, 1, -1)
    # classes {0, 3} wrong, {1, 2, 4} right, {5} silent: right wins if it has more votes, or as many and comes
    # first
    wins = 0
    for chosen in combinations(range(6), 3):
        wrong, right = [i for i in chosen if i in (0, 3)], [i for i in chosen if i in (1, 2, 4)]
        wins += len(right) > len(wrong) or (len(right) == len(wrong) > 0 and right[0] < wrong[0])
    assert majority(accs, kinds_, 3, any_rng()) == wins / 20
    assert majority(acc(1, 0, 0, 1), kind(0, 1, 2, 0), 1, any_rng()) == 0.5  # maj@1 is avg


def test_many_subsets_are_drawn_at_random():
    accs, kinds_ = np.array([0.0, 1.0] * 6), np.array([0, 1] * 6)
    every = np.array(list(combinations(range(12), 4)))  # 495
    exact = float(votes(accs, kinds_, every).mean())
    estimates = [majority(accs, kinds_, 4, stream(0, "test", i)) for i in range(200)]
    assert np.mean(estimates) == pytest.approx(exact, abs=3 * np.std(estimates) / 200**0.5)
    assert np.std(estimates) == pytest.approx((exact * (1 - exact) / 100) ** 0.5, rel=0.2)  # 100 subsets each
    assert majority(accs, kinds_, 4, stream(1, "a")) == majority(accs, kinds_, 4, stream(1, "a"))


def test_kinds_compare_with_the_first_of_each_class():
    asked = []

    def same(a: str, b: str) -> bool:
        asked.append((a, b))
        return float(a) == float(b)

    assert kinds(["1", None, "2", "1.0", "1", "2.0", None], same).tolist() == [0, -1, 1, 0, 0, 1, -1]
    assert asked == [("1", "2"), ("1", "1.0"), ("1", "2.0"), ("2", "2.0")]
    assert kinds([], same).tolist() == []


def test_intervals_are_those_of_a_binomial_share():
    values = np.array([1.0] * 30 + [0.0] * 70)
    low, high = interval(values)
    spread = 1.96 * (0.3 * 0.7 / 100) ** 0.5
    assert (low, high) == (pytest.approx(0.3 - spread, abs=0.02), pytest.approx(0.3 + spread, abs=0.02))
    assert interval(values) == (low, high)
    assert interval(values, seed=1) != (low, high)
    assert interval(np.array([0.25, NAN])) == (0.25, 0.25)
    assert all(np.isnan(interval(np.array([NAN]))))


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = [
        low <= 0.4 <= high
        for low, high in (interval((rng.random(80) < 0.4).astype(float)) for _ in range(100))
    ]
    assert 0.88 <= np.mean(hits) <= 1.0


def test_powers():
    assert powers_up_to(1) == [1]
    assert powers_up_to(8) == [1, 2, 4, 8]
    assert powers_up_to(12) == [1, 2, 4, 8, 12]
