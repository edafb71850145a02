import pytest

from menon.advantage import ReinforcePP
from menon.errors import UserError
from rows import batch_of, rows_of


def credit(part, batch):
    return rows_of(batch, part(batch).advantage)


def test_two_answers():
    """Example of docs/numerics.md, 19.2: 1 (3 tokens) and 0 (2 tokens): mean .6, sample variance (3 * .16 +
    2 * .36) / 4 = .3."""
    rows = credit(ReinforcePP(), batch_of([[1, 1, 1], [1, 1, 0]], outcome=[1, 0]))
    assert rows[0].tolist() == pytest.approx([0.730297] * 3, abs=1e-6)
    assert rows[1].tolist() == pytest.approx([-1.095445] * 2 + [0], abs=1e-6)


def test_discount_and_each_answer_once():
    """gamma .5: .25, .5, 1 and 0, 0. Means of the answers .583333 and 0: mean .291667, sample deviation
    .412479."""
    rows = credit(
        ReinforcePP(gamma=0.5, whiten_scope="sequence"), batch_of([[1, 1, 1], [1, 1, 0]], outcome=[1, 0])
    )
    assert rows[0].tolist() == pytest.approx([-0.101015, 0.505076, 1.717259], abs=1e-6)
    assert rows[1].tolist() == pytest.approx([-0.707107, -0.707107, 0], abs=1e-6)


def test_edge_cases():
    """Equal rewards give 0; an empty answer is in no statistic; a failed grader neither; a truncated answer
    counts as scored."""
    assert credit(ReinforcePP(), batch_of([[1, 1], [1, 0]], outcome=[1, 1])).tolist() == [[0, 0], [0, 0]]
    batch = batch_of(
        [[1], [1], [0], [1]],
        outcome=[1, 0, 5, 9],
        valid=[True, True, True, False],
        finish=["length"] + ["stop"] * 3,
    )
    assert credit(ReinforcePP(), batch)[:, 0].tolist() == pytest.approx(
        [0.5**0.5, -(0.5**0.5), 0, 0], abs=1e-7
    )
    assert credit(ReinforcePP(), batch_of([[1]], outcome=[2])).tolist() == [[0]]
    with pytest.raises(UserError, match="a discount lies between 0 and 1"):
        ReinforcePP(gamma=2)
