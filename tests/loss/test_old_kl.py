"""Example of docs/numerics.md, 19.3: rho - 1 - d = .049859, .004837, .425541 | .004837, .222119 with d = .3,
-.1, .8 | -.1, .6."""

import pytest

from menon.loss import OldKL
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from rows import column_of, loss_and_metrics
from worked import NEW, tokens, update, worked


def test_per_token():
    assert tokens(OldKL(), worked()) == pytest.approx(
        [0.049859, 0.004837, 0.425541, 0.004837, 0.222119], abs=1e-6
    )


def test_gradient_is_rho_minus_one():
    value, gradient = update(Term(OldKL(), TokenMean(), coef=2.0), worked())
    assert value == pytest.approx(2 * 0.141439, abs=1e-6)
    expected = [0.349859, -0.095163, 1.225541, -0.095163, 0.822119]
    assert gradient == pytest.approx([2 * number / 5 for number in expected], abs=1e-6)


def test_the_first_update_pays_nothing_and_is_not_measured():
    assert update(Term(OldKL(), TokenMean()), worked(), first=True) == (0, [0] * 5)
    now = {"logp": column_of(worked(), NEW)}
    assert "kl/old" not in loss_and_metrics(Term(OldKL(), TokenMean()), worked(), now, first=True)[1]
    assert float(loss_and_metrics(Term(OldKL(), TokenMean()), worked(), now)[1]["kl/old"]) == pytest.approx(
        0.141439, abs=1e-6
    )
