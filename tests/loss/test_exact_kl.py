"""Logits [1, 1, .5] against [2, 1, 0]: the reverse KL of docs/numerics.md, 19.5, .182282."""

import pytest
import torch

from menon.loss import ExactKL
from menon.loss.aggregation import TokenMean
from menon.loss.exact_kl import FORWARD_KL, REVERSE_KL, forward_kl, reverse_kl
from menon.update.terms import Term
from rows import batch_of, loss_and_metrics

POLICY = torch.tensor([[1.0, 1.0, 0.5], [0.3, -2.0, 1.0]], dtype=torch.float64)
REFERENCE = torch.tensor([[2.0, 1.0, 0.0], [0.3, -2.0, 1.0]], dtype=torch.float64)


def test_value():
    """pi = .383652 x2, .232697, ref = .665241, .244728, .090031: .383652 * (log .383652/.665241 + log
    .383652/.244728) + .232697 * log(.232697/.090031) = .383652 * (-.550402 + .449583) + .232697 * .949597 =
    .182290 up to the digits kept."""
    assert reverse_kl(POLICY, REFERENCE).tolist() == pytest.approx([0.182282, 0], abs=1e-6)


def test_gradient():
    """d KL / d z_v = pi_v (log pi_v - log ref_v - KL)."""
    logits = POLICY.clone().requires_grad_()
    reverse_kl(logits, REFERENCE).sum().backward()
    gap = POLICY.log_softmax(-1) - REFERENCE.log_softmax(-1)
    probability = POLICY.softmax(-1)
    expected = probability * (gap - (probability * gap).sum(-1, keepdim=True))
    assert torch.allclose(logits.grad, expected, atol=1e-12)
    assert float(expected.abs().max()) > 0.1


def test_very_unlikely_tokens_give_no_nan():
    logits = torch.tensor([[0.0, -1e30, 3e4]], requires_grad=True)
    reverse_kl(logits, torch.tensor([[0.0, 5.0, -3e4]])).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_asks_for_the_reference_s_logits():
    assert ExactKL().needs == (REVERSE_KL,)
    assert REVERSE_KL.other == "reference"
    with pytest.raises(ValueError, match="another model"):
        reverse_kl(POLICY, None)


def test_as_a_term():
    batch = batch_of([[1, 1], [1, 0]])
    now = {"reverse_kl": torch.tensor([9, 0.1, 0.2, 9, 0.6], dtype=torch.float64)}
    loss, metrics = loss_and_metrics(Term(ExactKL(), TokenMean()), batch, now)
    assert float(loss) == pytest.approx(0.3)
    assert float(metrics["kl/ref_full"]) == pytest.approx(0.3)


def test_forward_is_the_other_way_round():
    """Policy (.75, .25), reference (.5, .5): .5 log(.5 / .75) + .5 log(.5 / .25) = .143841; the reverse is
    .130812."""
    policy = torch.tensor([[0.75, 0.25]], dtype=torch.float64).log().requires_grad_()
    reference = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    assert float(forward_kl(policy, reference).detach()) == pytest.approx(0.143841, abs=1e-6)
    assert float(reverse_kl(policy, reference).detach()) == pytest.approx(0.130812, abs=1e-6)
    (gradient,) = torch.autograd.grad(forward_kl(policy, reference).sum(), policy)
    assert gradient[0].tolist() == pytest.approx([0.25, -0.25])  # pi - ref
    assert ExactKL("forward").needs == (FORWARD_KL,)
