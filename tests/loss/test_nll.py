import pytest

from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient


def test_value_gradient_metric():
    """(.5 + 1 + 3) / 3 = 1.5, and -1/3 for each trained token."""
    batch = batch_of([[1, 0, 1], [1, 0, 0]])
    now = {"logp": column_of(batch, [[-0.5, -7, -1], [-3, 0, 0]])}
    value, gradient = value_and_gradient(Term(NLL(), TokenMean()), batch, now)
    assert value == pytest.approx(1.5)
    assert rows_of(batch, gradient).tolist() == [
        [pytest.approx(-1 / 3), 0, pytest.approx(-1 / 3)],
        [pytest.approx(-1 / 3), 0, 0],
    ]
    _, metrics = loss_and_metrics(Term(NLL(), TokenMean(), coef=0.1), batch, now)
    assert float(metrics["nll"]) == pytest.approx(1.5)
