"""Law 4: what an estimator must not see. Constants added to a group's rewards, their scale, the order of
sequences."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from menon import ragged
from menon.advantage import (
    GAE,
    GPG,
    GRPO,
    OPO,
    RLOO,
    VAPO,
    GRPOPassK,
    MaxRL,
    Reinforce,
    ReinforceBaseline,
    ReinforcePP,
    ReinforcePPBaseline,
    Whiten,
)
from menon.batch import Batch, take, tokens_of
from menon.loss import GSPO, KL, PolicyGradient, PPOClip
from menon.loss.aggregation import (
    Constant,
    PromptMean,
    SelectedMean,
    SequenceMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.update.terms import Term
from rows import batch_of, value_and_gradient

MODES = ("bessel", "population", "loo", "none")
OTHERS = [OPO(), GPG(), GPG("bessel"), GRPOPassK(), GRPOPassK("bessel"), ReinforcePPBaseline()]
CENTRED = [*(GRPO(std_mode=mode) for mode in MODES), RLOO(), *OTHERS]
NAMES = [*MODES, "rloo", "opo", "gpg", "gpg-std", "passk", "passk-std", "reinforce_pp_baseline"]
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


def random_batch(seed: int) -> Batch:
    """24 answers of 0 to 6 tokens to 5 prompts, in any order; some with gaps, some whose grader failed.

    Rewards are multiples of 1/64, so that adding a constant is exact and cannot part what was equal.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    mask = (uniform(24, 6) < 0.85) & (torch.arange(6) < torch.randint(0, 7, (24, 1), generator=generator))
    old = -uniform(24, 6)
    return batch_of(
        mask.long(),
        outcome=(64 * uniform(24)).round() / 64,
        group=torch.randint(0, 5, (24,), generator=generator),
        valid=uniform(24) < 0.9,
        value=uniform(24, 6),
        old_logp=old,
        ref_logp=old + 0.3 * uniform(24, 6),
        behaviour_logp=old + 0.5 * (uniform(24, 6) - 0.5),
    )


def with_outcome(batch: Batch, change) -> Batch:
    """`change(outcome [S]) -> [S]`, on the token where the outcome lies."""
    last = ragged.last(batch.is_action, batch.offset)
    last = torch.where(last >= 0, last, batch.offset[1:] - 1)
    return replace(batch, reward=torch.zeros_like(batch.reward).index_add(0, last, change(batch.outcome)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("part", CENTRED, ids=NAMES)
def test_a_constant_per_group_changes_nothing(part, seed):
    batch = random_batch(seed)
    constant = torch.tensor([3.0, -50, 0.125, 7, 100], dtype=torch.float64)[batch.group]
    moved = with_outcome(batch, lambda outcome: outcome + constant)
    assert torch.allclose(part(batch).advantage, part(moved).advantage, **CLOSE)
    assert float(part(batch).advantage.abs().max()) > 0.2
    assert not torch.allclose(Reinforce()(batch).advantage, Reinforce()(moved).advantage, atol=0.01)


@pytest.mark.parametrize("scale", [0.01, 3.0, 1000.0])
@pytest.mark.parametrize("mode", ["bessel", "population"])
def test_scaling_rewards_leaves_grpo_with_std(mode, scale):
    """Exactly without eps; with it A changes by the factor (std + eps) / (std + eps / c)."""
    batch = random_batch(0)
    scaled = with_outcome(batch, lambda outcome: scale * outcome)
    assert torch.allclose(GRPO(mode, eps=0)(batch).advantage, GRPO(mode, eps=0)(scaled).advantage, **CLOSE)
    same = GRPO(mode, eps=1e-6 / scale)(batch).advantage
    assert torch.allclose(same, GRPO(mode, eps=1e-6)(scaled).advantage, **CLOSE)


WITHOUT_STD = [GRPO(std_mode="none"), RLOO(), Reinforce(), OPO(), GPG(), GRPOPassK(), ReinforceBaseline()]


@pytest.mark.parametrize("part", WITHOUT_STD, ids=lambda part: part.kind)
def test_scaling_rewards_scales_estimators_without_std(part):
    batch = random_batch(0)
    scaled = with_outcome(batch, lambda outcome: 3 * outcome)
    assert torch.allclose(3 * part(batch).advantage, part(scaled).advantage, **CLOSE)


@pytest.mark.parametrize("part", [GAE(lam=0.9), VAPO(alpha=0.4)], ids=lambda part: part.kind)
def test_scaling_rewards_and_values_scales_gae(part):
    batch = random_batch(0)
    scaled = replace(with_outcome(batch, lambda outcome: 3 * outcome), value=3 * batch.value)
    assert torch.allclose(3 * part(batch).advantage, part(scaled).advantage, **CLOSE)


@pytest.mark.parametrize("part", [MaxRL(), GRPO("batch", eps=0)], ids=lambda part: part.kind)
def test_estimators_that_divide_by_rewards_forget_their_scale(part):
    """The mean of the group, the deviation of the step. A constant for the whole step changes the first and
    not the second."""
    batch = random_batch(0)
    scaled = with_outcome(batch, lambda outcome: 4 * outcome)
    moved = with_outcome(batch, lambda outcome: outcome + 0.5)
    assert torch.allclose(part(batch).advantage, part(scaled).advantage, **CLOSE)
    assert torch.allclose(part(batch).advantage, part(moved).advantage, atol=1e-9) == (part.kind == "grpo")


@pytest.mark.parametrize(
    "part", [ReinforceBaseline(), ReinforcePPBaseline("sequence")], ids=lambda part: part.kind
)
def test_one_constant_for_the_whole_step_changes_nothing(part):
    batch = random_batch(0)
    moved = with_outcome(batch, lambda outcome: outcome + 8)
    assert torch.allclose(part(batch).advantage, part(moved).advantage, **CLOSE)
    assert float(part(batch).advantage.abs().max()) > 0.3


def test_whitening_forgets_place_and_scale():
    """Up to its 1e-8 beside the variance."""
    batch = Reinforce()(random_batch(0))
    moved = replace(batch, advantage=torch.where(batch.trained, 5 * batch.advantage - 2, 0))
    assert torch.allclose(Whiten()(batch).advantage, Whiten()(moved).advantage, atol=1e-6)


def shuffled(batch: Batch) -> tuple[Batch, Tensor]:
    order = torch.randperm(batch.num_sequences, generator=torch.Generator().manual_seed(1))
    return take(batch, order), tokens_of(batch.offset, order)


ORDERLESS = [VAPO(), MaxRL(), ReinforceBaseline(), ReinforcePP(), GRPO("batch")]


@pytest.mark.parametrize("part", [*CENTRED, Reinforce(), GAE(lam=0.9), *ORDERLESS], ids=str)
def test_order_of_sequences_does_not_matter_to_an_estimator(part):
    batch = random_batch(2)
    other, tokens = shuffled(batch)
    assert torch.allclose(part(batch).advantage[tokens], part(other).advantage, **CLOSE)


SHARES = [TokenMean(), SelectedMean(), SequenceMeanTokenMean(), SequenceMean(), Constant(6), PromptMean()]


@pytest.mark.parametrize("share", SHARES, ids=lambda share: share.kind)
@pytest.mark.parametrize(
    "loss", [PolicyGradient(), PPOClip(), GSPO(0.2, 0.2), KL("k3")], ids=lambda loss: loss.kind
)
def test_order_of_sequences_does_not_matter_to_a_loss(loss, share):
    batch = GRPO()(random_batch(2))
    other, tokens = shuffled(batch)
    now = torch.where(batch.trained, batch.behaviour_logp, 0)
    value, gradient = value_and_gradient(Term(loss, share), batch, {"logp": now.clone().requires_grad_()})
    again, gradient_again = value_and_gradient(
        Term(loss, share), other, {"logp": now[tokens].requires_grad_()}
    )
    assert again == pytest.approx(value, rel=1e-11)
    assert torch.allclose(gradient[tokens], gradient_again, **CLOSE)
    assert float(gradient.abs().max()) > 0
