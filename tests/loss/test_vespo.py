"""A = 1, W = exp(1): phi = exp(2 - 3 (e - 1)) = .042645. A = -.5, W = exp(.5): phi = exp(1.5 - 2 * .648721) =
1.224530. log pi = -.7, -.6, -1.2 | -.3, -.9."""

import math

import pytest
import torch

from menon.errors import UserError
from menon.loss import VESPO, PolicyGradient
from menon.loss.aggregation import SequenceMean, TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, value_and_gradient
from worked import NEW, tokens, update, worked


def phi(change, advantage, loss=VESPO()):  # noqa: B008 (frozen)
    """The weight of a one-token answer whose log-prob has risen by `change`: the gradient is -phi A."""
    batch = batch_of([[1]], old_logp=[[-1.0 - change]], advantage=[[advantage]], dtype=torch.float64)
    _, gradient = value_and_gradient(
        Term(loss, TokenMean()), batch, {"logp": column_of(batch, [[-1.0]], torch.float64)}
    )
    return float(gradient.sum()) / -advantage


def test_one_number_per_token():
    assert tokens(VESPO(), worked()) == pytest.approx(
        [0.029851, 0.025587, 0.051174, -0.183680, -0.551039], abs=1e-6
    )


def test_gradient_is_that_of_the_policy_gradient_times_phi():
    value, gradient = update(Term(VESPO(), TokenMean()), worked())
    assert value == pytest.approx((0.029851 + 0.025587 + 0.051174 - 0.183680 - 0.551039) / 5, abs=1e-6)
    assert gradient == pytest.approx([-0.008529] * 3 + [0.122453] * 2, abs=1e-6)


def test_metrics():
    """phi over five tokens, W over two answers."""
    _, metrics = loss_and_metrics(Term(VESPO(), TokenMean()), worked(), {"logp": column_of(worked(), NEW)})
    found = [float(metrics[name]) for name in ("gate/mean", "ratio/mean", "ratio/max")]
    assert found == pytest.approx(
        [(3 * 0.042645 + 2 * 1.224530) / 5, (2.718282 + 1.648721) / 2, 2.718282], abs=1e-6
    )


def test_on_policy_it_is_the_policy_gradient():
    expected = update(Term(PolicyGradient(), SequenceMean()), worked(), first=True)
    value, gradient = update(Term(VESPO(), SequenceMean()), worked(), first=True)
    assert (value, *gradient) == pytest.approx((expected[0], *expected[1]), abs=1e-6)


@pytest.mark.parametrize(("advantage", "k", "lam"), [(1.0, 2, 3), (-1.0, 3, 2)])
def test_the_weight_is_largest_at_k_over_lam(advantage, k, lam):
    peak = math.log(k / lam)
    assert phi(peak, advantage) == pytest.approx((k / lam) ** k * math.exp(lam - k))
    assert phi(peak, advantage) > max(phi(peak - 0.1, advantage), phi(peak + 0.1, advantage), 1)
    turned = VESPO(lam, k, k, lam) if advantage > 0 else VESPO(k, lam, lam, k)
    assert phi(0.3, advantage, turned) == pytest.approx(math.exp(0.3 * lam - k * math.expm1(0.3)))


def test_advantages_that_vary_within_an_answer():
    """Each token takes the kernel of its own sign: A = -1 and W = e give exp(3 - 2 * 1.718282) = .646253; the
    last is 0."""
    _, gradient = update(Term(VESPO(), TokenMean()), worked(advantage=[[1, -1, 0], [-0.5, -0.5, 0]]))
    assert gradient == pytest.approx([-0.042645 / 5, 0.646253 / 5, 0, 0.122453, 0.122453], abs=1e-6)


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("limit", [20.0, 80.0])
def test_far_from_the_old_policy_nothing_is_left(advantage, limit):
    """Where a token has become certain of late, or impossible, in either policy."""
    for old, new in ((-math.inf, -1.0), (-1000.0, 0.0), (-1.0, -1000.0), (-1.0, -math.inf)):
        batch = batch_of([[1, 1]], old_logp=[[-1.0, old]], advantage=[[advantage] * 2])
        now = {"logp": column_of(batch, [[-1.0, new]])}
        value, gradient = value_and_gradient(Term(VESPO(limit=limit), TokenMean()), batch, now)
        assert [value, *gradient.tolist()] == pytest.approx([0] * (1 + batch.num_tokens), abs=1e-10)


def test_the_ratio_of_a_long_answer_stays_finite():
    """Five tokens at the bound of 20 each would be exp(100), above single precision."""
    batch = batch_of([[1] * 5], old_logp=[[-30.0] * 5], advantage=[[1.0] * 5], dtype=torch.float32)
    now = {"logp": column_of(batch, [[0.0] * 5], torch.float32)}
    _, metrics = loss_and_metrics(Term(VESPO(), TokenMean()), batch, now)
    assert float(metrics["ratio/max"]) == pytest.approx(math.exp(20), rel=1e-6)
    assert float(metrics["gate/mean"]) == 0


@pytest.mark.parametrize("name", ["k_positive", "lam_positive", "k_negative", "lam_negative"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_refuses_a_kernel_that_does_not_fade(name, value):
    with pytest.raises(UserError, match=rf"{name} {value} of VESPO must be positive"):
        VESPO(**{name: value})
