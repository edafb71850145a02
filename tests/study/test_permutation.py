"""Is one set of runs better than another: permutations, intervals and corrections by hand, and simulations
of sets without a difference and with known ones (the whole of them: scripts/compare_table.py)."""

import math

import numpy as np
import pytest

from menon.study.permutation import (
    compared,
    deals,
    holm,
    improvement,
    is_exact,
    least_p,
    resamples,
    signs,
)
from menon.study.power import Effect, power, seeds_needed
from menon.study.seeds import t_quantile


def one(a, b, paired=False):
    return compared(np.array([a], dtype=float), np.array([b], dtype=float), paired)


def test_all_deals_of_two_against_two_by_hand():
    """1, 2 against 5, 9: difference 5.5. Of the six deals only this one and its mirror have a statistic as
    large: the others have differences .5, 1.5 or 3.5 with larger spreads."""
    assert len(deals(2, 2, 100)[0]) == 6
    found = one([1, 2], [5, 9])
    assert (found.difference[0], found.p[0]) == (5.5, pytest.approx(2 / 6))


def test_the_statistic_is_welchs_and_not_the_difference():
    """0, .5 and 10 against 4, 5 and 6.5, counted by brute force with the formula written out."""
    from itertools import combinations

    values = [0.0, 0.5, 10.0, 4.0, 5.0, 6.5]

    def statistic(places):
        b = [values[i] for i in places]
        a = [values[i] for i in range(6) if i not in places]
        return abs(np.mean(b) - np.mean(a)) / math.sqrt(np.var(a, ddof=1) / 3 + np.var(b, ddof=1) / 3)

    all_ways = [statistic(places) for places in combinations(range(6), 3)]
    real = statistic((3, 4, 5))
    share = sum(way >= real - 1e-9 for way in all_ways) / 20
    assert one(values[:3], values[3:]).p[0] == pytest.approx(share)


def test_all_signs_of_three_pairs_by_hand():
    """Differences 1, 2, -1: sums of all signs are +-4, +-2, +-2, 0: six of eight reach |2|."""
    assert signs(3, 8)[0].shape == (8, 3)
    assert one([0, 0, 0], [1, 2, -1], paired=True).p[0] == pytest.approx(6 / 8)


def test_numbers_without_spread():
    """Equal numbers everywhere are no difference; two constant sets that differ are the rarest deal."""
    same, apart = one([0.5] * 4, [0.5] * 4), one([0.5] * 4, [0.6] * 4)
    assert (same.p[0], same.low[0], same.high[0]) == (1, 0, 0)
    assert apart.p[0] == pytest.approx(2 / 70)
    assert apart.low[0] == pytest.approx(0.1)
    assert apart.claimed()[0]
    assert not same.claimed()[0]


def test_a_single_run_has_no_interval_and_decides_nothing():
    found = one([0.2], [0.5, 0.6, 0.7])
    assert math.isnan(found.low[0])
    assert found.p[0] == pytest.approx(1 / 4)
    assert not found.claimed()[0]


def test_scale_and_place_change_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20, 5))
    plain, moved = compared(a, b, False), compared(1e-3 * a + 7, 1e-3 * b + 7, False)
    np.testing.assert_array_equal(plain.p, moved.p)
    np.testing.assert_allclose(1e-3 * plain.low, moved.low, rtol=1e-8)


def test_the_interval_is_never_inside_students():
    rng = np.random.default_rng(1)
    d = rng.normal(size=(50, 7))
    found = compared(np.zeros_like(d), d, True)
    half = t_quantile(6) * d.std(axis=1, ddof=1) / math.sqrt(7)
    assert (found.low <= d.mean(axis=1) - half + 1e-12).all()
    assert (found.high >= d.mean(axis=1) + half - 1e-12).all()
    assert np.mean((found.high - found.low) / (2 * half)) < 1.1


def test_what_few_runs_can_say():
    assert [least_p(n, n, False) for n in (3, 4)] == [0.1, pytest.approx(2 / 70)]
    assert (least_p(2, 4, False), least_p(5, 5, True)) == (pytest.approx(1 / 15), 1 / 16)
    assert (is_exact(8, 8, False), is_exact(9, 9, False)) == (True, False)
    assert deals(9, 9, 500)[0].shape == (501, 18)
    assert resamples(4, 10, "a").sum(axis=1) == pytest.approx(np.ones(10))


def test_holm_and_the_probability_of_improvement():
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    a, b = np.array([1.0, 2.0]), np.array([2.0, 3.0, 0.0])
    # pairs with b ahead: 2>1, 3>1, 3>2; tie 2=2: 3.5 of 6
    assert improvement(a, b, False)[0] == pytest.approx(3.5 / 6)
    assert improvement(np.zeros(5), np.ones(5), False)[1] == pytest.approx(0.4782, abs=1e-4)
    assert improvement(np.array([1.0, 5.0]), np.array([2.0, 3.0]), True)[0] == 0.5


@pytest.mark.parametrize(
    ("name", "sides", "paired"),
    [
        ("equal", (5, 5), False),
        ("unequal", (5, 5), False),
        ("unequal", (3, 8), False),
        ("skewed", (4, 4), False),
        ("near one", (5, 5), False),
        ("paired", (6, 6), True),
        ("three", (3, 3), False),
    ],
)
def test_without_a_difference_five_percent_are_claimed(name, sides, paired):
    """1,000 comparisons; 6.5 % is two standard errors above 5 %. Three against three claim nothing."""
    rng = np.random.default_rng(11)
    n, m = sides
    a, b = rng.normal(size=(1000, n)), rng.normal(size=(1000, m))
    if name == "unequal":
        a = 5 * a
    if name == "skewed":
        a, b = np.exp(a), np.exp(b)
    if name == "near one":
        a, b = (rng.binomial(200, rng.beta(60, 1.5, size=side.shape)) / 200 for side in (a, b))
    if name == "paired":
        a, b = a + b, 2 * b - a[::-1]  # differences are symmetric about 0
    found = compared(a, b, paired)
    claims = float(found.claimed().mean())
    assert claims <= 0.065
    assert claims == 0 if name == "three" else claims > 0.005
    if name == "unequal" and n != m:  # what the interval is there for
        assert float((found.p <= 0.05).mean()) > 0.1


def test_the_stated_power_is_found_and_the_named_seeds_decide():
    rng = np.random.default_rng(5)
    for effect, n in ((Effect(2.0, 1.0, 1.0, False), 5), (Effect(1.0, 1.0, 0.0, True), 8)):
        said = power(effect, n)
        a, noise = rng.normal(size=(2, 1000, n))
        a = np.zeros_like(a) if effect.paired else a
        found = float(compared(a, noise + effect.difference, effect.paired).claimed().mean())
        assert found == pytest.approx(said, abs=0.09)  # three standard errors of 400 and of 1,000
    seeds = seeds_needed(Effect(1.5, 1.0, 1.0, False))
    assert seeds is not None
    a, b = rng.normal(size=(2, 1000, seeds))
    assert float(compared(a, b + 1.5, False).claimed().mean()) > 0.75
    assert seeds_needed(Effect(0.01, 1.0, 1.0, False)) is None
