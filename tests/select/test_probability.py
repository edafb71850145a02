"""Probabilities .99, .5, .95, .2, .97, .85 (docs/numerics.md, 19.6): below .9 are tokens 1, 3 and 5; log .9 =
-.105361."""

import math

import pytest

from menon.errors import UserError
from menon.loss import NLL
from menon.loss.aggregation import SelectedMean
from menon.select import ProbabilityMask
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of

LOGP = [[math.log(p) for p in (0.99, 0.5, 0.95, 0.2, 0.97, 0.85)]]


def test_keeps_what_was_a_choice():
    batch = batch_of([[1] * 6], behaviour_logp=LOGP)
    assert rows_of(batch, ProbabilityMask()(batch).double())[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert rows_of(batch, ProbabilityMask(below=0.4)(batch).double())[0].tolist() == [0, 0, 0, 1, 0, 0]


def test_the_old_policy_goes_before_the_sampler():
    batch = batch_of([[1] * 6], behaviour_logp=[[-0.2] * 6], old_logp=LOGP)
    assert rows_of(batch, ProbabilityMask()(batch).double())[0].tolist() == [0, 1, 0, 1, 0, 1]


def test_untrained_tokens_stay_out():
    batch = batch_of([[1, 0, 1], [1, 1, 1]], behaviour_logp=[[-2] * 3, [-2] * 3], valid=[True, False])
    assert rows_of(batch, ProbabilityMask()(batch).double()).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_in_a_term():
    """The mean over tokens 1, 3 and 5: (2 + 4 + 6) / 3."""
    batch = batch_of([[1] * 6], behaviour_logp=LOGP)
    term = Term(NLL(), SelectedMean(), ProbabilityMask())
    loss, _ = loss_and_metrics(
        term, batch, {"logp": column_of(batch, [[-1, -2, -3, -4, -5, -6]])}, first=True
    )
    assert float(loss.detach()) == pytest.approx(4)


def test_refuses_what_is_no_probability():
    with pytest.raises(UserError, match="below of ProbabilityMask is 0"):
        ProbabilityMask(below=0)
