import pytest

from menon.loss import EntropyBonus
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, rows_of, value_and_gradient


def test_value_and_gradient():
    """.01 times -(1 + 2) / 2, and -.01 / 2 for each trained token: descent raises the entropy."""
    batch = batch_of([[1, 0, 1]])
    value, gradient = value_and_gradient(
        Term(EntropyBonus(), TokenMean(), coef=0.01), batch, {"entropy": column_of(batch, [[1, 5, 2]])}
    )
    assert value == pytest.approx(-0.015)
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([-0.005, 0, -0.005])
