"""Which points of a long line are drawn, against a plain loop over them."""

import math

import numpy as np
import pytest

from menon.workbench.reduce import kept


def by_hand(columns, pixels):
    """The first smallest and the first largest known value of each run of points, and the ends of each."""
    count = len(columns[0])
    if count <= 2 * pixels:
        return list(range(count))
    found, size = set(), math.ceil(count / pixels)
    for begin in range(0, count, size):
        end = min(begin + size, count)
        found |= {begin, end - 1}
        for column in columns:
            known = [place for place in range(begin, end) if not math.isnan(column[place])]
            if known:
                found.add(min(known, key=lambda place: (column[place], place)))
                found.add(min(known, key=lambda place: (-column[place], place)))
    return sorted(found)


@pytest.mark.parametrize("seed", range(40))
def test_the_points_are_those_of_a_plain_loop(seed):
    """With ties, values that are not known, infinities, and a last pixel with fewer points."""
    random = np.random.default_rng(seed)
    count, pixels = int(random.integers(1, 500)), int(random.integers(1, 60))
    columns = []
    for _ in range(3):
        column = random.integers(-3, 4, count).astype(float)
        column[random.random(count) < random.random()] = np.nan
        column[random.random(count) < 0.05] = random.choice([np.inf, -np.inf])
        columns.append(column)
    assert kept(columns, pixels).tolist() == by_hand(columns, pixels)


def test_an_infinite_value_beside_one_that_is_not_known():
    """The place that is drawn is that of the value, not of the gap before it."""
    column = np.array([np.nan, np.inf, np.nan, 1.0, 2.0, 0.0, 5.0, 5.0])
    assert kept([column], 2).tolist() == [0, 1, 3, 4, 5, 6, 7]


def test_a_long_line_keeps_its_one_peak():
    """A million points with a peak and a dip that are one point wide."""
    column = np.zeros(1_000_000)
    column[[123_456, 654_321]] = 1.0, -1.0
    places = kept([column], 800)
    assert {123_456, 654_321} <= set(places.tolist())
    assert len(places) <= 4 * 800
