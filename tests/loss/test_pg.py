"""Example of docs/numerics.md, 19.3, row pg."""

import pytest

from menon.loss import PolicyGradient
from menon.loss.aggregation import Constant, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, rows_of, value_and_gradient

NEW = [[-0.7, -0.6, -1.2], [-0.3, -0.9, 0]]
ADVANTAGE = [[1, 1, 1], [-0.5, -0.5, 0]]


@pytest.mark.parametrize(
    ("share", "expected", "weights"),
    [
        (TokenMean(), 0.38, [1 / 5, 1 / 5]),  # (.7 + .6 + 1.2 - .15 - .45) / 5
        (SequenceMeanTokenMean(), 0.266667, [1 / 6, 1 / 4]),  # (2.5 / 3 - .6 / 2) / 2
        (SequenceMean(), 0.95, [1 / 2, 1 / 2]),  # (2.5 - .6) / 2
        (Constant(4), 0.2375, [1 / 8, 1 / 8]),  # .95 / 4
    ],
)
def test_value_and_gradient(share, expected, weights):
    batch = batch_of([[1, 1, 1], [1, 1, 0]], advantage=ADVANTAGE)
    value, gradient = value_and_gradient(
        Term(PolicyGradient(), share), batch, {"logp": column_of(batch, NEW)}
    )
    assert value == pytest.approx(expected, abs=1e-6)
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([-weights[0]] * 3)
    assert rows_of(batch, gradient)[1].tolist() == pytest.approx([0.5 * weights[1]] * 2 + [0])
