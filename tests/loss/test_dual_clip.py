"""Example of docs/numerics.md, 19.3, with bound 1.5: only the last token (A = -.5, rho = 1.822119) is held,
at .5 * 1.5 = .75."""

import pytest

from menon.errors import UserError
from menon.loss import DualClip, PPOClip
from menon.loss.aggregation import Constant, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term
from rows import column_of, loss_and_metrics
from worked import NEW, tokens, update, worked

DUAL = DualClip(bound=1.5)


def test_per_token():
    assert tokens(DUAL, worked()) == pytest.approx([-1.2, -0.904837, -1.2, 0.452419, 0.75], abs=1e-6)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (TokenMean(), -0.420484),
        (SequenceMeanTokenMean(), -0.250202),
        (SequenceMean(), -1.051209),
        (Constant(4), -0.262802),
    ],
)
def test_whole_loss(share, expected):
    assert update(Term(DUAL, share), worked())[0] == pytest.approx(expected, abs=1e-6)


def test_gradient_is_minus_a_rho_where_not_held():
    """Held: tokens 0 and 2 by the clip, the last by the bound. Each of 5 tokens weighs .2."""
    _, gradient = update(Term(DUAL, TokenMean()), worked())
    assert gradient == pytest.approx([0, -0.904837 / 5, 0, 0.5 * 0.904837 / 5, 0], abs=1e-6)


def test_a_bound_that_nothing_reaches_leaves_ppo():
    assert update(Term(DualClip(bound=3), TokenMean()), worked()) == update(
        Term(PPOClip(), TokenMean()), worked()
    )


def test_metrics():
    _, metrics = loss_and_metrics(Term(DUAL, TokenMean()), worked(), {"logp": column_of(worked(), NEW)})
    assert (float(metrics["clip/dual"]), float(metrics["clip/high"])) == pytest.approx((0.2, 0.4))


def test_refuses_a_bound_inside_the_clip():
    with pytest.raises(
        UserError, match=r"bound of DualClip is 1\.25; it bounds a ratio above 1 \+ clip_high = 1\.28"
    ):
        DualClip(clip_high=0.28, bound=1.25)
