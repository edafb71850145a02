"""Worked by hand, beta .5: answer 0 of two tokens, q = 1, A = 1.2, old 1 nat below pi: w = e; answer 1 of one
token, q = -1, A = -.4, old equal: w = 1."""

import math

import pytest
import torch

from menon.errors import UserError
from menon.loss import DVO
from menon.loss.aggregation import SequenceMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

NEW = [[-1, -2], [-3, 0]]
REF = [[-1.5, -2.5], [-2, 0]]
OLD = [[-1.5, -2.5], [-3, 0]]
ADVANTAGE = [[1.2, 1.2], [-0.4, 0]]
MASK = [[1, 1], [1, 0]]


def batch(**given):
    return batch_of(MASK, **({"ref_logp": REF, "old_logp": OLD, "advantage": ADVANTAGE} | given))


def test_worked():
    """e / 2 (.5 - 1.2)^2 = .665979 and 1 / 2 (-.5 + .4)^2 = .005; the gradient is w beta (beta q - A) on each
    token, over two answers."""
    given = batch()
    now = {"logp": column_of(given, NEW)}
    assert rows_of(given, DVO(beta=0.5)(now, given)).tolist() == [
        pytest.approx([0, 0.665979], abs=1e-6),
        pytest.approx([0.005, 0], abs=1e-9),
    ]
    value, gradient = value_and_gradient(Term(DVO(beta=0.5), SequenceMean()), given, now)
    assert value == pytest.approx((0.665979 + 0.005) / 2, abs=1e-6)
    first, second = math.e * 0.5 * -0.7 / 2, 0.5 * -0.1 / 2
    assert rows_of(given, gradient).tolist() == [
        pytest.approx([first, first]),
        pytest.approx([second, 0]),
    ]
    _, metrics = loss_and_metrics(Term(DVO(beta=0.5), SequenceMean()), given, now)
    assert float(metrics["dvo/off"]) == pytest.approx((0.7 + 0.1) / 2)


def test_the_weight_is_bounded():
    given = batch()
    now = {"logp": column_of(given, NEW)}
    assert float(DVO(beta=0.5, max_weight=2)(now, given).sum().detach()) == pytest.approx(0.49 + 0.005)


def test_the_first_update_weighs_every_answer_alike():
    """Without a column of the old policy: .245 + .005."""
    given = batch_of(MASK, ref_logp=REF, advantage=ADVANTAGE)
    now = {"logp": column_of(given, NEW)}
    assert float(DVO(beta=0.5)(now, given).sum().detach()) == pytest.approx(0.25)


def test_an_answer_at_its_optimum_has_no_gradient_and_an_empty_one_no_number():
    given = batch_of([[1], [0]], ref_logp=[[-1], [0]], old_logp=[[-1], [0]], advantage=[[0.5], [0]])
    now = {"logp": column_of(given, [[0.0], [0]])}
    value, gradient = value_and_gradient(Term(DVO(beta=0.5), SequenceMean()), given, now)
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_settings_that_are_refused():
    with pytest.raises(UserError, match="max_weight of DVO is 0; it bounds a ratio and must be positive"):
        DVO(max_weight=0)
    with pytest.raises(UserError, match="beta of DVO is -1"):
        DVO(beta=-1)
