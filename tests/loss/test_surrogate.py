"""Example of docs/numerics.md, 19.3: -A rho = -1.349859, -.904837, -2.225541 | .452419, .911059; the mean of
five is -.623352."""

import pytest

from menon.loss import PolicyGradient, Surrogate
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from worked import tokens, update, worked

EXPECTED = [-1.349859, -0.904837, -2.225541, 0.452419, 0.911059]


def test_per_token():
    assert tokens(Surrogate(), worked()) == pytest.approx(EXPECTED, abs=1e-6)


def test_value_and_gradient_are_the_same_number():
    """d(-A rho) / d log pi = -A rho."""
    value, gradient = update(Term(Surrogate(), TokenMean()), worked())
    assert value == pytest.approx(-0.623352, abs=1e-6)
    assert gradient == pytest.approx([number / 5 for number in EXPECTED], abs=1e-6)


def test_the_first_update_is_the_policy_gradient():
    _, gradient = update(Term(Surrogate(), TokenMean()), worked(), first=True)
    assert gradient == update(Term(PolicyGradient(), TokenMean()), worked(), first=True)[1]
