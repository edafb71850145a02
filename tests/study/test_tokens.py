"""Measures of token entropies, overlap, bins, forking tokens: every number by hand."""

import numpy as np
import pytest

from menon.errors import UserError
from menon.study.bins import change_by_bin
from menon.study.forking import Row, tables
from menon.study.measures import spread, top
from menon.study.overlap import overlap

GOLDEN = np.array([0.01, 0.9, 0.3, 2, 0.05, 0.6, 0.02, 1.1, 0.4, 0.001])


def test_golden_11_4():
    assert sorted(top(GOLDEN)) == [3, 7]
    got = spread(GOLDEN)
    assert (got.tokens, got.threshold, got.lt001) == (10, 1.1, 0.1)  # .01 itself is not below
    assert got.mean == pytest.approx(5.381 / 10)
    assert got.percentiles["p80"] == pytest.approx(0.94)
    assert got.percentiles["p50"] == pytest.approx(0.35)
    assert got.percentiles["p99"] == pytest.approx(1.1 + 0.91 * 0.9)  # place 8.91


def test_no_tokens():
    with pytest.raises(UserError, match="no token"):
        spread(np.zeros(0))
    assert overlap(np.zeros(0), np.zeros(0)) == 0


def test_equal_entropies_keep_their_order():
    assert top(np.zeros(10)).tolist() == [0, 1]
    assert overlap(np.zeros(10), np.zeros(10)) == 1


def test_overlap():
    other = GOLDEN.copy()
    assert overlap(GOLDEN, other) == 1
    other[7], other[0] = 0.0, 3.0  # {0, 3} against {3, 7}
    assert overlap(GOLDEN, other) == 0.5
    assert overlap(GOLDEN, -GOLDEN) == 0


def test_bins_by_the_base_entropy():
    base = np.array([0.0, 4.0, 0.0, 2.0, 0.0, 3.0])
    trained = np.array([1.0, 1.0, 2.0, 2.0, 5.0, 1.0])
    low, middle, high = change_by_bin(base, trained, bins=3)  # {0, 2}, {4, 3}, {5, 1}
    assert (low.tokens, low.base, low.change) == (2, 0, 1.5)
    assert (middle.tokens, middle.base, middle.change) == (2, 1, 2.5)
    assert (high.tokens, high.base, high.change) == (2, 3.5, -2.5)


def test_bins_need_tokens():
    with pytest.raises(UserError, match="20 bins of entropy need as many tokens, and there are 6"):
        change_by_bin(np.zeros(6), np.zeros(6))


def test_forking_tokens():
    token = np.array([5, 5, 9, 9, 9, 2, 7, 7])
    entropy = np.array([1.0, 3.0, 0.0, 0.3, 0.3, 9.0, 2.0, 2.0])
    got = tables(token, entropy, n_min=2, rows=2)
    assert got.top == [
        Row(5, 2, 2.0),
        Row(7, 2, 2.0),
    ]  # equal means: the smaller number first; token 2 occurs once
    assert got.bottom == [Row(9, 3, pytest.approx(0.2)), Row(5, 2, 2.0)]
    assert got.frequent == 3
    assert tables(token, entropy).top == []
