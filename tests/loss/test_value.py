"""Example of docs/numerics.md, 19.3: v = .6, .1, .9, v_old = .3, .2, .8, ret = 1, 0, 1, c = .2: clipped v =
.5, .1, .9."""

import pytest

from menon.errors import UserError
from menon.loss import ValueLoss
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient


def case():
    batch = batch_of([[1, 1, 1]], value=[[0.3, 0.2, 0.8]], ret=[[1, 0, 1]])
    return batch, {"value": column_of(batch, [[0.6, 0.1, 0.9]])}


def test_clipped():
    """max(.16, .25) / 2 = .125, .01 / 2 = .005 twice; mean .045. The first token is held: no gradient
    there."""
    batch, now = case()
    assert rows_of(batch, ValueLoss(clip=0.2)(now, batch))[0].tolist() == pytest.approx([0.125, 0.005, 0.005])
    value, gradient = value_and_gradient(Term(ValueLoss(clip=0.2), TokenMean()), batch, now)
    assert value == pytest.approx(0.045)
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([0, 0.1 / 3, -0.1 / 3])


def test_plain():
    """.16 / 2, .01 / 2, .01 / 2: mean .03; gradient v - ret."""
    batch, now = case()
    value, gradient = value_and_gradient(Term(ValueLoss(), TokenMean()), batch, now)
    assert value == pytest.approx(0.03)
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([-0.4 / 3, 0.1 / 3, -0.1 / 3])
    _, metrics = loss_and_metrics(Term(ValueLoss(), TokenMean(), coef=0.5), batch, now)
    assert float(metrics["value/loss"]) == pytest.approx(0.03)


def test_refuses_a_clip_of_zero():
    with pytest.raises(UserError, match="clip of ValueLoss is 0"):
        ValueLoss(clip=0)


def test_huber():
    """Errors -.4, .1, -.1 at delta .2: .2 (.4 - .1) = .06, and .005 twice; mean .07 / 3. Gradient -.2 where
    it is linear."""
    batch, now = case()
    value, gradient = value_and_gradient(Term(ValueLoss(huber=0.2), TokenMean()), batch, now)
    assert value == pytest.approx(0.07 / 3)
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([-0.2 / 3, 0.1 / 3, -0.1 / 3])


def test_huber_of_a_clipped_value():
    """The first token's clipped value .5 has error -.5: .2 (.5 - .1) = .08 is the larger, and has no
    gradient."""
    batch, now = case()
    value, gradient = value_and_gradient(Term(ValueLoss(clip=0.2, huber=0.2), TokenMean()), batch, now)
    assert value == pytest.approx(0.09 / 3)
    assert float(rows_of(batch, gradient)[0, 0]) == 0


def test_refuses_a_width_of_zero():
    with pytest.raises(UserError, match="huber of ValueLoss is 0; it must be positive"):
        ValueLoss(huber=0)
