"""Example of docs/numerics.md, 19.3, with tau 1.0 and 1.05."""

import math

import pytest

from menon.errors import UserError
from menon.loss import SAPO
from menon.loss.aggregation import Constant, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term
from rows import column_of, loss_and_metrics
from worked import NEW, tokens, update, worked


def test_per_token():
    """First token: 4 / (1 + exp(-.349859)) = 2.346333; fourth: .5 * 4 / 1.05 / (1 + exp(1.05 * .095163)) =
    .904839."""
    assert tokens(SAPO(), worked()) == pytest.approx(
        [-2.346333, -1.904909, -3.092149, 0.904839, 1.339684], abs=1e-6
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (TokenMean(), -1.019774),
        (SequenceMeanTokenMean(), -0.662768),
        (SequenceMean(), -2.549434),
        (Constant(4), -0.637359),
    ],
)
def test_whole_loss(share, expected):
    assert update(Term(SAPO(), share), worked())[0] == pytest.approx(expected, abs=1e-6)


def test_gradient():
    """d/d log pi of -A (4 / tau) sigmoid(tau (rho - 1)) = -4 A s (1 - s) rho: token 2 has s = 1 / (1 +
    exp(-1.225541))."""
    _, gradient = update(Term(SAPO(), TokenMean()), worked())
    s = 1 / (1 + math.exp(-1.225541))
    assert gradient[2] == pytest.approx(-4 * s * (1 - s) * 2.225541 / 5, abs=1e-6)
    s = 1 / (1 + math.exp(-1.05 * 0.822119))
    assert gradient[4] == pytest.approx(4 * 0.5 * s * (1 - s) * 1.822119 / 5, abs=1e-6)


def test_on_policy_the_gradient_is_that_of_the_policy_gradient():
    """And the value is -2 A / tau: (-6 + 2 * .5 * 2 / 1.05) / 5."""
    value, gradient = update(Term(SAPO(), TokenMean()), worked(), first=True)
    assert value == pytest.approx((-6 + 2 / 1.05) / 5)
    assert gradient == pytest.approx([-0.2, -0.2, -0.2, 0.1, 0.1])


def test_the_gate_closes_far_away():
    """Open at rho = 1; its slope there is 1 on every token."""
    now = {"logp": column_of(worked(), NEW)}
    first = loss_and_metrics(Term(SAPO(), TokenMean()), worked(), now, first=True)[1]
    later = loss_and_metrics(Term(SAPO(), TokenMean()), worked(), now)[1]
    assert float(first["gate/mean"]) == 1
    # 4 s (1 - s) at tau (rho - 1) = .349859, -.095163, 1.225541 | -.099922, .863225
    assert float(later["gate/mean"]) == pytest.approx(
        (0.970013 + 0.997739 + 0.701803 + 0.997508 + 0.834621) / 5, abs=1e-6
    )


def test_refuses_a_tau_of_zero():
    with pytest.raises(UserError, match="tau_negative 0 of SAPO must be positive"):
        SAPO(tau_negative=0)
