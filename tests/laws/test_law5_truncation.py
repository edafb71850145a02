"""Law 5 for truncated samples, on the toy language model: with log-probs over the tokens that could be drawn
the gradient is that of the truncated policy, to 1e-10, and with log-probs over all tokens it is not."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from menon import ragged
from menon.advantage import Reinforce
from menon.batch import Batch, take
from menon.loss import PolicyGradient, PPOClip
from menon.loss.aggregation import SequenceMean
from menon.update.terms import Term
from oracle import LENGTH, REWARDS, policy
from toy import batch_of_answers, expected_loss, log_probability

TOP_K = 2


def truncated(reward: str) -> Batch:
    """The answers that can be drawn where each token is one of the two likeliest."""
    batch = batch_of_answers(LENGTH, REWARDS[reward])
    top = policy().detach().topk(TOP_K, dim=-1).indices.int()[batch.columns["state"]]
    kept = torch.where(batch.is_action[:, None], top, -1)
    possible = (kept == batch.token[:, None]).any(-1) | ~batch.is_action
    whole = ragged.sequence_sum((~possible).long(), batch.offset) == 0
    return take(replace(batch, kept=kept), whole.nonzero()[:, 0])


def cosine_and_length(reward: str, exact: bool, loss: PolicyGradient | PPOClip) -> tuple[float, float]:
    """Of the expected gradient, against the gradient of the truncated policy's expected reward."""
    theta, batch = policy(), truncated(reward)
    p = log_probability(batch, theta).exp()
    assert float(p.sum().detach()) == pytest.approx(1, abs=1e-12)
    aim = torch.autograd.grad((p * batch.outcome).sum(), theta)[0]
    learned = Reinforce()(batch if exact else replace(batch, kept=None))
    loss_of_all = expected_loss(Term(loss, SequenceMean()), learned, p.detach(), theta)
    found = -torch.autograd.grad(loss_of_all, theta)[0]
    assert exact == torch.allclose(found, aim, atol=1e-10, rtol=0)
    return cosine(found, aim), float(found.norm() / aim.norm())


def cosine(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("loss", [PolicyGradient(), PPOClip()], ids=["pg", "ppo_clip"])
def test_the_gradient_is_that_of_the_truncated_policy(reward, loss):
    assert cosine_and_length(reward, True, loss) == pytest.approx((1, 1), abs=1e-9)


@pytest.mark.parametrize(("reward", "row"), [("binary", (0.9345, 1.1096)), ("shaped", (0.6184, 1.6664))])
def test_without_it_the_gradient_is_biased(reward, row):
    """The numbers of docs/oracle.md."""
    assert cosine_and_length(reward, False, PolicyGradient()) == pytest.approx(row, abs=5e-5)


def test_no_probability_goes_to_what_could_not_be_drawn():
    """The truncated policy is one over the kept tokens: their probabilities add up to 1 in each state."""
    theta, batch = policy().detach(), truncated("binary")
    assert batch.kept is not None
    top = batch.kept[batch.is_action].long()
    z = theta[batch.columns["state"]][batch.is_action].gather(-1, top)
    logp = log_probability(batch, theta)
    own = (z.softmax(-1) * (top == batch.token[batch.is_action][:, None])).sum(-1).log()
    spread = torch.zeros(batch.num_tokens, dtype=own.dtype).masked_scatter(batch.is_action, own)
    assert torch.allclose(ragged.sequence_sum(spread, batch.offset), logp, atol=1e-12)
