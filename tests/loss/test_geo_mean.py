"""d = .3, -.1, .8 with A = 1, held at .4: mean .2, ratio 1.221403. d = -.1, .6 with A = -.5: mean .25, ratio
1.284025."""

import pytest

from menon.errors import UserError
from menon.loss import GeoMean
from menon.loss.aggregation import SequenceMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics
from worked import NEW, tokens, update, worked


def test_one_number_per_sequence():
    assert tokens(GeoMean(), worked()) == pytest.approx([0, 0, -1.221403, 0, 0.642013], abs=1e-6)


def test_held_below_where_the_advantage_is_negative():
    """low = .05: d' = -.05, .6, mean .275, ratio 1.316531."""
    assert tokens(GeoMean(low=0.05), worked())[4] == pytest.approx(0.658265, abs=1e-6)


def test_gradient():
    """-1.221403 / 3 tokens / 2 sequences on those not held; .642013 / 2 / 2."""
    value, gradient = update(Term(GeoMean(), SequenceMean()), worked())
    assert value == pytest.approx((-1.221403 + 0.642013) / 2, abs=1e-6)
    assert gradient == pytest.approx([-0.203567, -0.203567, 0, 0.160503, 0.160503], abs=1e-6)


def test_metrics():
    """One of five tokens is held, above."""
    _, metrics = loss_and_metrics(
        Term(GeoMean(), SequenceMean()), worked(), {"logp": column_of(worked(), NEW)}
    )
    assert (float(metrics["clip/high"]), float(metrics["clip/low"])) == pytest.approx((0.2, 0))
    assert float(metrics["ratio/mean"]) == pytest.approx((1.221403 + 1.284025) / 2, abs=1e-6)


def test_an_empty_answer_has_no_number():
    batch = batch_of([[1, 1], [0, 0]], old_logp=[[-1, -1], [0, 0]], advantage=[[1, 1], [1, 1]])
    loss, _ = loss_and_metrics(
        Term(GeoMean(), SequenceMean()), batch, {"logp": column_of(batch, [[-0.9, -1], [0, 0]])}
    )
    assert float(loss.detach()) == pytest.approx(-1.051271, abs=1e-6)  # exp(.05)


def test_refuses_negative_bounds():
    with pytest.raises(UserError, match=r"low -0\.1 and high 0\.4 of GeoMean"):
        GeoMean(low=-0.1)
