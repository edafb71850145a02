"""Kappa and calibration by hand."""

import math

import pytest

from menon.eval.agreement import Bin, calibration, calibration_error, kappa


def of(yes_yes: int, yes_no: int, no_yes: int, no_no: int) -> tuple[list[bool], list[bool]]:
    """Decisions and labels from the four counts."""
    said = [True] * (yes_yes + yes_no) + [False] * (no_yes + no_no)
    labels = [True] * yes_yes + [False] * yes_no + [True] * no_yes + [False] * no_no
    return said, labels


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((20, 5, 10, 15), 0.4),  # .7 observed; chance .5 .6 + .5 .4 = .5
        ((45, 15, 25, 15), (0.6 - 0.54) / 0.46),  # chance .6 .7 + .4 .3 = .54
        ((5, 0, 0, 5), 1.0),
        ((0, 5, 5, 0), -1.0),
        ((4, 4, 4, 4), 0.0),
        ((8, 2, 0, 0), 0.0),  # always yes: .8 observed, .8 by chance
    ],
)
def test_kappa(counts, expected):
    assert kappa(*of(*counts)) == pytest.approx(expected)


def test_kappa_where_chance_agrees_fully():
    assert math.isnan(kappa([True, True], [True, True]))
    assert math.isnan(kappa([], []))


def test_calibration():
    """Bins of .25: .1 and .2 with one yes, .25 with none, .9 and 1 with two. |.15 - .5| 2 + .25 + |.95 - 1| 2
    over 5."""
    bins = calibration([0.1, 0.9, 0.2, 1.0, 0.25], [True, True, False, True, False], 4)
    assert bins == [
        Bin(0.0, 0.25, 2, pytest.approx(0.15), 0.5),
        Bin(0.25, 0.5, 1, 0.25, 0.0),
        Bin(0.75, 1.0, 2, pytest.approx(0.95), 1.0),
    ]
    assert calibration_error(bins) == pytest.approx((0.35 * 2 + 0.25 + 0.05 * 2) / 5)
    assert math.isnan(calibration_error(calibration([], [])))
