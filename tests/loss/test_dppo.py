"""Example of docs/numerics.md, 19.3, with the old policy as the sampler: p - p_behaviour = .128706, -.057719,
.165859 | -.077913, .183440."""

import pytest

from menon.errors import UserError
from menon.loss import DPPO
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of
from worked import ADVANTAGE, MASK, NEW, OLD, tokens, update

SETTING = {"low": 0.05, "high": 0.15, "drift": 0.0}


def batch():
    return batch_of(MASK, behaviour_logp=OLD, advantage=ADVANTAGE)


def test_one_side():
    """Token 2 rose too far with A > 0, token 3 fell too far with A < 0; tokens 1 and 4 went against their
    advantage."""
    assert tokens(DPPO(**SETTING), batch()) == pytest.approx([-1.349859, -0.904837, 0, 0, 0.911059], abs=1e-6)


def test_both_sides():
    assert tokens(DPPO(**SETTING, sides="both"), batch()) == pytest.approx([-1.349859, 0, 0, 0, 0], abs=1e-6)


def test_the_drift_is_on_every_token():
    """.1 d^2 = .009, .001, .064 | .001, .036; the gradient .2 d also on the tokens outside."""
    setting = SETTING | {"drift": 0.1}
    value, gradient = update(Term(DPPO(**setting), TokenMean()), batch())
    assert value == pytest.approx((-1.343637 + 0.111) / 5, abs=1e-6)
    expected = [-1.349859 + 0.06, -0.904837 - 0.02, 0.16, -0.02, 0.911059 + 0.12]
    assert gradient == pytest.approx([number / 5 for number in expected], abs=1e-6)


def test_kl_of_two_outcomes():
    """q = .5, p = .8: .5 log(.5 / .8) + .5 log(.5 / .2) = .223144."""
    one = batch_of([[1, 1]], behaviour_logp=[[-0.693147, -0.693147]], advantage=[[1, -1]])
    logp = column_of(one, [[-0.223144, -0.223144]])
    for high, expected in ((0.22, [0, 1.6]), (0.23, [-1.6, 1.6])):
        loss = DPPO(low=0.1, high=high, drift=0, distance="kl")({"logp": logp}, one)
        assert rows_of(one, loss)[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_metrics():
    _, metrics = loss_and_metrics(
        Term(DPPO(**SETTING), TokenMean()), batch(), {"logp": column_of(batch(), NEW)}
    )
    assert float(metrics["clip/frac"]) == pytest.approx(0.4)


def test_refuses_negative_bounds():
    with pytest.raises(UserError, match="low -1, high"):
        DPPO(low=-1)
