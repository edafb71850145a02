"""What DPO cannot see (arXiv 2404.10719, section 4): one question with three answers, of which the reference
writes the first two half of the time and the third never, and a single preference, the first over the second.

The minimisers of DPO's loss are all the policies that never write the second answer, and some of them write
the third. The optimum of what PPO maximises, E[R] - beta KL to the reference, is reference * exp(R / beta):
it never does.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from menon.loss import DPO
from rows import batch_of

BETA = 0.5
REWARD = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
FEATURES = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
"""Of the three answers. Two weights reach every policy that writes all three."""


def dpo(log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """DPO's loss of the one pair, with its gradient."""
    batch = batch_of([[1], [1]], ref_logp=log_reference[:2, None], pair=[0, 0], acc=[1.0, 0.0])
    column = torch.zeros(batch.num_tokens, dtype=torch.float64)
    column = column.index_put((batch.is_action.nonzero()[:, 0],), log_policy[:2])
    return DPO(BETA)({"logp": column}, batch).sum()


def regularised(log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """E[R] - beta KL(policy, reference)."""
    policy = log_policy.exp()
    kl = torch.where(policy > 0, policy * (log_policy - log_reference), 0).sum()
    return (policy * REWARD).sum() - BETA * kl


def test_a_minimiser_of_dpo_writes_an_answer_that_nobody_preferred():
    """(.1, 0, .9) has the loss 0, the least there is, and so has (1, 0, 0). PPO's optimum, (sigmoid(2),
    1 - sigmoid(2), 0), does not, and is better than both in its own measure; the first is infinitely bad."""
    reference = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()
    unseen, first = (torch.tensor(p, dtype=torch.float64).log() for p in ([0.1, 0, 0.9], [1.0, 0, 0]))
    assert float(dpo(unseen, reference)) == 0
    assert float(dpo(first, reference)) == 0
    optimum = (reference + REWARD / BETA).softmax(0)
    assert optimum.tolist() == pytest.approx([0.880797, 0.119203, 0], abs=1e-6)
    assert float(dpo(optimum.log(), reference)) == pytest.approx(0.313262, abs=1e-6)  # log(1 + e^-1)
    best = BETA * math.log(0.5 * math.exp(1 / BETA) + 0.5)  # beta log Z
    assert float(regularised(optimum.log(), reference)) == pytest.approx(best, abs=1e-12)
    assert float(regularised(first, reference)) == pytest.approx(1 - BETA * math.log(2), abs=1e-12)
    assert float(regularised(first, reference)) < best
    assert float(regularised(unseen, reference)) == -math.inf


LEARNT = torch.tensor([0.4995, 0.4995, 0.001], dtype=torch.float64).log()
"""A reference that writes the third answer once in a thousand times."""


def gradient(objective: Callable[[Tensor, Tensor], Tensor], weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The objective at a softmax policy of two weights that starts as the reference; its gradient; the
    policy."""
    weights = weights.detach().requires_grad_()
    log_policy = (LEARNT + FEATURES @ weights).log_softmax(0)
    value = objective(log_policy, LEARNT)
    return value.detach(), torch.autograd.grad(value, weights)[0], log_policy.exp().detach()


def test_dpo_drives_a_softmax_policy_to_the_third_answer():
    """What makes the first answer likelier than the second makes the third likelier still. DPO's gradient is
    along the first weight wherever it stands, so gradient descent ends at (0, 0, 1)."""
    shares = []
    for place, expected in ((0, math.log(2)), (5, 0.006715), (10, 4.54e-5), (20, 2.06e-9)):
        loss, slope, policy = gradient(dpo, torch.tensor([place, 0.0], dtype=torch.float64))
        assert float(loss) == pytest.approx(expected, rel=1e-3)  # beta h = place
        assert slope[0] < 0
        assert slope[1] == pytest.approx(0, abs=1e-12)
        shares.append(float(policy[2]))
    assert shares == pytest.approx([0.001, 0.229055, 0.977826, 0.999999], abs=1e-6)


def test_the_kl_holds_the_same_policy_back():
    """The best of the same policies by E[R] - beta KL is reference * exp(R / beta): nothing else has a
    gradient of 0, since the measure is concave in the policy. Where DPO ends it is far below."""
    system = torch.cat([FEATURES, torch.ones(3, 1, dtype=torch.float64)], 1)
    weights = torch.linalg.solve(system, REWARD / BETA)[:2]
    best, slope, policy = gradient(regularised, weights)
    assert slope.abs().max() < 1e-12
    assert policy.tolist() == pytest.approx([0.880587, 0.119174, 0.000239], abs=1e-6)
    assert float(best) == pytest.approx(BETA * math.log(0.4995 * math.exp(2) + 0.5005), abs=1e-12)
    worst, _, _ = gradient(regularised, torch.tensor([20.0, 0.0], dtype=torch.float64))
    assert float(worst) == pytest.approx(-BETA * math.log(1000), abs=1e-4)


def short(number: float, digits: int = 3) -> str:
    """A probability as the page writes it: .881, 0 and 1 without digits."""
    text = f"{number:.{digits}f}"
    return str(round(number)) if float(text) in (0, 1) else text.removeprefix("0")


def test_the_page_has_these_numbers():
    page = Path(__file__).parents[2] / "docs" / "algorithms" / "preferences.md"
    section = " ".join(
        page.read_text(encoding="utf-8").split("## What DPO cannot see")[1].split("##")[0].split()
    )
    reference = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()
    optimum = (reference + REWARD / BETA).softmax(0).tolist()
    assert f"beta {short(BETA, 1)} it is ({','.join(map(short, optimum))})" in section
    *first, last = (
        short(float((LEARNT + FEATURES @ torch.tensor([place, 0.0], dtype=torch.float64)).softmax(0)[2]))
        for place in (0, 5, 10, 20)
    )
    assert f"at 0, 5, 10 and 20 the third answer has {', '.join(first)} and {last}." in section
    held = float((LEARNT + REWARD / BETA).softmax(0)[2])
    assert f"PPO's optimum, one of the same policies, gives it {short(held, 4)}." in section
