"""Example of docs/numerics.md, 19.1, whitening of .437962, .355750, .585, .3."""

from dataclasses import replace

import pytest

from menon.advantage import Whiten
from rows import batch_of, rows_of


def test_sample_variance():
    """Mean .419678, deviations .018284, -.063928, .165322, -.119678: squares sum to .046074, / 3 = .0153580,
    root .1239275."""
    advantage = [[0.4379625, 0.35575, 0.585, 0.3]]
    batch = Whiten()(batch_of([[1] * 4], advantage=advantage))
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx(
        [0.147539, -0.515844, 1.334003, -0.965698], abs=1e-6
    )


def test_over_all_tokens_of_all_answers():
    """1 x3 and 0 x2: mean .6, sample variance (3 * .16 + 2 * .36) / 4 = .3: .4 / .5477226 and -.6 /
    .5477226."""
    batch = Whiten()(batch_of([[1, 1, 1], [1, 1, 0]], advantage=[[1, 1, 1], [0, 0, 0]]))
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx([0.730297] * 3, abs=1e-6)
    assert rows_of(batch, batch.advantage)[1].tolist() == pytest.approx([-1.095445] * 2 + [0], abs=1e-6)


def test_one_token_is_only_centred():
    batch = Whiten()(batch_of([[1]], advantage=[[7]]))
    assert batch.advantage.tolist() == [0, 0]


def test_failed_grader_is_in_no_statistic():
    batch = batch_of([[1], [1], [1]], advantage=[[1], [3], [1000]], valid=[True, True, False])
    root = 2**0.5  # mean 2, sample variance 2
    assert rows_of(batch, Whiten()(batch).advantage)[:, 0].tolist() == pytest.approx(
        [-1 / root, 1 / root, 0], abs=1e-7
    )


def test_value_targets_stay():
    batch = batch_of([[1, 1]], advantage=[[1, 2]], ret=[[3, 4]])
    assert Whiten()(batch).ret is batch.ret
    with pytest.raises(ValueError, match="Whiten needs 'advantage'"):
        Whiten()(replace(batch, advantage=None))


SETTINGS = [
    # Mean .419678, sum of squares .0460740 (above): / 4 = .0115185, root .1073243.
    (Whiten("population"), [0.170363, -0.595646, 1.540374, -1.115092]),
    (Whiten("none"), [0.018284, -0.063928, 0.165322, -0.119678]),
    # Sample deviation .1239275 + .1239275: half of the whitened ones.
    (Whiten(eps=0.1239275, eps_on="deviation"), [0.073770, -0.257922, 0.667002, -0.482849]),
    (Whiten(centre=False), [0.4379625 / 0.1239275, 0.35575 / 0.1239275, 0.585 / 0.1239275, 0.3 / 0.1239275]),
]


@pytest.mark.parametrize(("part", "expected"), SETTINGS)
def test_settings(part, expected):
    batch = part(batch_of([[1] * 4], advantage=[[0.4379625, 0.35575, 0.585, 0.3]]))
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_each_answer_once():
    """Answers 1, 1, 1 and 0: means 1 and 0, mean .5, sample deviation sqrt(1/2); one empty answer counts
    nowhere."""
    batch = Whiten(scope="sequence")(
        batch_of([[1, 1, 1], [1, 0, 0], [0, 0, 0]], advantage=[[1, 1, 1], [0, 0, 0], [0, 0, 0]])
    )
    root = 0.5**0.5
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx([root] * 3, abs=1e-7)
    assert rows_of(batch, batch.advantage)[1].tolist() == pytest.approx([-root, 0, 0], abs=1e-7)
