"""Example of docs/numerics.md, 19.3. rho = exp(.3), exp(-.1), exp(.8) | exp(-.1), exp(.6) = 1.349859,
.904837, 2.225541 | .904837, 1.822119."""

import pytest
from torch import tensor

from menon.errors import UserError
from menon.loss import PPOClip
from menon.loss.aggregation import Constant, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

MASK = [[1, 1, 1], [1, 1, 0]]
OLD = [[-1, -0.5, -2], [-0.2, -1.5, 0]]
NEW = [[-0.7, -0.6, -1.2], [-0.3, -0.9, 0]]
ADVANTAGE = [[1, 1, 1], [-0.5, -0.5, 0]]


def batch():
    return batch_of(MASK, old_logp=OLD, advantage=ADVANTAGE)


def test_per_token():
    """A = 1: -min(rho, 1.2); A = -.5: .5 max(rho, .8)."""
    loss = PPOClip()({"logp": column_of(batch(), NEW)}, batch())
    assert rows_of(batch(), loss)[0].tolist() == pytest.approx([-1.2, -0.904837, -1.2], abs=1e-6)
    assert rows_of(batch(), loss)[1].tolist() == pytest.approx([0.452419, 0.911059, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "share", "expected"),
    [
        (PPOClip(), TokenMean(), -0.388272),
        (PPOClip(), SequenceMeanTokenMean(), -0.209937),
        (PPOClip(), SequenceMean(), -0.970680),
        (PPOClip(), Constant(4), -0.242670),
        (PPOClip(clip_high=0.28), TokenMean(), -0.420272),
        (PPOClip(clip_high=0.28), SequenceMeanTokenMean(), -0.236603),
        (PPOClip(clip_high=0.28), SequenceMean(), -1.050680),
        (PPOClip(clip_high=0.28), Constant(4), -0.262670),
    ],
)
def test_whole_loss(loss, share, expected):
    value, _ = value_and_gradient(Term(loss, share), batch(), {"logp": column_of(batch(), NEW)})
    assert value == pytest.approx(expected, abs=1e-6)


def test_gradient_is_minus_a_rho_where_not_held():
    """Held at the upper bound: tokens 0 and 2. A < 0 is only held below .8. Each of 5 tokens weighs .2."""
    _, gradient = value_and_gradient(Term(PPOClip(), TokenMean()), batch(), {"logp": column_of(batch(), NEW)})
    assert rows_of(batch(), gradient)[0].tolist() == pytest.approx([0, -0.904837 / 5, 0], abs=1e-6)
    assert rows_of(batch(), gradient)[1].tolist() == pytest.approx(
        [0.5 * 0.904837 / 5, 0.5 * 1.822119 / 5, 0], abs=1e-6
    )


def test_first_update_has_ratio_one():
    """Old is the detached new: the loss is the mean of -A, the gradient that of -A log pi."""
    _, gradient = value_and_gradient(
        Term(PPOClip(), TokenMean()), batch(), {"logp": column_of(batch(), NEW)}, first=True
    )
    assert rows_of(batch(), gradient).tolist() == (-tensor(ADVANTAGE).double() / 5).tolist()


def test_metrics():
    """2 of 5 tokens held, both above; mean ratio (1.349859 + .904837 + 2.225541 + .904837 + 1.822119) / 5 =
    1.441439."""
    _, metrics = loss_and_metrics(Term(PPOClip(), TokenMean()), batch(), {"logp": column_of(batch(), NEW)})
    assert float(metrics["clip/frac"]) == pytest.approx(0.4)
    assert float(metrics["clip/high"]) == pytest.approx(0.4)
    assert float(metrics["clip/low"]) == 0
    assert float(metrics["ratio/mean"]) == pytest.approx(1.441439, abs=1e-6)
    assert float(metrics["ratio/max"]) == pytest.approx(2.225541, abs=1e-6)


def test_low_clip_is_counted_for_negative_advantages():
    """Ratio exp(-.5) = .607 is held below .8 where A < 0, and not where A > 0."""
    held = batch_of([[1, 1]], old_logp=[[0, 0]], advantage=[[-1, 1]])
    now = {"logp": column_of(held, [[-0.5, -0.5]])}
    _, metrics = loss_and_metrics(Term(PPOClip(), TokenMean()), held, now)
    assert (float(metrics["clip/low"]), float(metrics["clip/high"]), float(metrics["clip/frac"])) == (
        0.5,
        0,
        0.5,
    )
    _, gradient = value_and_gradient(Term(PPOClip(), TokenMean()), held, now)
    assert rows_of(held, gradient)[0].tolist() == pytest.approx([0, -0.606531 / 2], abs=1e-6)


def test_refuses_bounds_that_do_not_enclose_one():
    with pytest.raises(UserError, match=r"clip_low -0\.1 and clip_high 0\.2 of PPOClip"):
        PPOClip(clip_low=-0.1)
