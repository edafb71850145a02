"""20,000 draws of each method against the enumerated optimum of the toy language model: total variation below
.05, and above it where a method has another law."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from menon.rollout.posterior import (
    RSO,
    SIR,
    SMC,
    BestOfN,
    IndependentMH,
    Power,
    Rejection,
    SoftBestOfN,
    SuffixMH,
)
from menon.rollout.posterior.acceptance import within_target
from menon.rollout.posterior.likelihood import log_prob
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.weights import bound_on_kl
from menon.types import Graded, Rollout
from toy import END, Answer, answers, batch_of_answers, log_probability, prefixes, table
from toy_sampler import PROMPT, said, total_variation, toy_target

LENGTH, BETA, DRAWS = 6, 0.5, 20_000
SHORT = 3
LOGITS = table(LENGTH, 1, 0.8)


def right(answer: Answer) -> float:
    """An even number of ones, at least two; also without a clean end."""
    return float(answer.count(1) > 0 and answer.count(1) % 2 == 0)


def prior() -> torch.Tensor:
    """[127] probabilities of all answers."""
    return log_probability(batch_of_answers(LENGTH, right), LOGITS).exp()


def optimum(truncated: str = "score") -> tuple[list[float], float]:
    """pi*, and Z."""
    reward = torch.tensor([right(a) for a in answers(LENGTH)], dtype=torch.float64)
    ended = torch.tensor([truncated == "score" or a[-1] == END for a in answers(LENGTH)])
    weight = prior() * (reward / BETA).exp() * ended
    return (weight / weight.sum()).tolist(), float(weight.sum())


def drawn(method, truncated="score", draws=DRAWS):
    (found,) = method([PROMPT], toy_target(LOGITS, LENGTH, right, BETA, truncated=truncated), draws)
    assert len(found.draws) == draws
    assert sum(draw.weight for draw in found.draws) == pytest.approx(1)
    return found


@pytest.mark.parametrize(
    ("method", "truncated"),
    [
        (Rejection(max_tries=200_000), "score"),
        (SIR(candidates=20_000), "reject"),
        (IndependentMH(chains=1000, burn_in=5, thin=1), "score"),
        (SuffixMH(chains=1000, burn_in=5, thin=1), "reject"),
        (SMC(particles=20_000, blocks=2), "reject"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_draws_are_from_the_optimum(method, truncated):
    found = drawn(method, truncated)
    exact, z = optimum(truncated)
    assert total_variation(said(found.draws), exact, LENGTH) < 0.05
    if "log_z" in found.metrics:
        assert float(found.metrics["log_z"]) == pytest.approx(math.log(z), abs=0.02)
    if method.kind == "rejection":
        assert float(found.metrics["acceptance"]) == pytest.approx(z * math.exp(-1 / BETA), abs=0.01)


def test_the_prior_and_the_other_target_are_far_away():
    """So that a total variation of .05 says something."""
    exact, _ = optimum()
    assert 0.5 * sum(abs(p - q) for p, q in zip(prior().tolist(), exact, strict=True)) > 0.3
    other, _ = optimum("reject")
    assert 0.5 * sum(abs(p - q) for p, q in zip(other, exact, strict=True)) > 0.05


def kernel(answered: list[Graded], target: Target, temperature: float, ahead) -> torch.Tensor:
    """[15, 15] probabilities to move from one answer to another: a cut at any place, an ending by the table
    at this temperature, and the acceptance that the method computes."""
    every = answers(SHORT)
    logp = (table(SHORT, 1, 0.8) / temperature).log_softmax(-1)
    rows = prefixes(SHORT)
    moved = torch.zeros(len(every), len(every), dtype=torch.float64)
    for i, start in enumerate(every):
        for j, new in enumerate(every):
            for cut in range(len(start)):
                if new[:cut] == start[:cut] and len(new) > cut:
                    end = sum(float(logp[rows[new[:t]], new[t]]) for t in range(cut, len(new)))
                    taken = min(0.0, ahead(answered[i], answered[j]))
                    moved[i, j] += math.exp(end + taken) / len(start)
    return moved + torch.diag(1 - moved.sum(1))


def known(target: Target, temperature: float) -> list[Graded]:
    """Every answer of up to 3 tokens, as a sampler at this temperature would have written it."""
    logp = (table(SHORT, 1, 0.8) / temperature).log_softmax(-1)
    rows = prefixes(SHORT)
    found = []
    for answer in answers(SHORT):
        each = [0.0, *(float(logp[rows[answer[:t]], token]) for t, token in enumerate(answer))]
        tokens = np.array([END, *answer], dtype=np.int32)
        finish = "stop" if answer[-1] == END else "length"
        acts = np.arange(len(tokens)) > 0
        rollout = Rollout(
            *(PROMPT, tokens, acts, np.array(each), None, None, 0 * tokens), finish, text="", group=0
        )
        found.append(Graded(rollout, target.grade(rollout)))
    return found


def stays(probability: torch.Tensor, moved: torch.Tensor) -> float:
    """How far one step of the chain moves a distribution."""
    share = probability / probability.sum()
    return float((share @ moved - share).abs().max())


def test_a_step_of_suffix_mh_leaves_the_optimum_as_it_is():
    """To 1e-9, where truncated answers count and where they do not; without n / n' it does not."""
    p = log_probability(batch_of_answers(SHORT, right), table(SHORT, 1, 0.8)).exp()
    reward = torch.tensor([right(a) for a in answers(SHORT)], dtype=torch.float64)
    ended = torch.tensor([float(a[-1] == END) for a in answers(SHORT)], dtype=torch.float64)
    for truncated, inside in (("score", torch.ones(15)), ("reject", ended)):
        target = toy_target(table(SHORT, 1, 0.8), SHORT, right, BETA, truncated=truncated)
        star = p * (reward / BETA).exp() * inside
        moved = kernel(known(target, 1.0), target, 1.0, SuffixMH().ahead(target))
        assert stays(star, moved) < 1e-9
    without = kernel(known(target, 1.0), target, 1.0, lambda old, new: within_target(target, old, new))
    assert stays(star, without) > 0.005


def test_a_step_of_power_sampling_leaves_the_power_as_it_is():
    """pi^4, proposals at temperature 1/4; a low temperature alone is another distribution."""
    target = toy_target(table(SHORT, 1, 0.8), SHORT, right, BETA)
    inner = replace(target, grade=log_prob(target))
    power = (4 * log_probability(batch_of_answers(SHORT, right), table(SHORT, 1, 0.8))).exp()
    moved = kernel(known(inner, 0.25), inner, 0.25, Power(alpha=4).ahead)
    assert stays(power, moved) < 1e-6  # log-probs of a sampler are in fp32
    tempered = log_probability(batch_of_answers(SHORT, right), 4 * table(SHORT, 1, 0.8)).exp()
    assert stays(tempered, moved) > 0.005


def short(method, draws=4000, size=0.8):
    logits = table(SHORT, 1, size)
    target = toy_target(logits, SHORT, right, BETA, truncated="score")
    (found,) = method([PROMPT], target, draws)
    batch = batch_of_answers(SHORT, right)
    return found, log_probability(batch, logits).exp(), batch.outcome


def test_power_sampling_grows_by_blocks_to_the_power():
    found, p, _ = short(Power(alpha=2, blocks=3, moves=4, chains=200), size=0.4)
    exact = (p.square() / p.square().sum()).tolist()
    assert total_variation(said(found.draws), exact, SHORT) < 0.05


def test_the_best_of_two_has_its_own_law():
    """p(y) (2 P(r below r(y)) + P(r equal)), and a KL to the prior below its bound."""
    found, p, reward = short(BestOfN(candidates=2))
    below = torch.stack([p[reward < r].sum() for r in reward])
    level = torch.stack([p[reward == r].sum() for r in reward])
    exact = p * (2 * below + level)
    assert total_variation(said(found.draws), exact.tolist(), SHORT) < 0.05
    assert 0.01 < float((exact * (exact / p).log()).sum()) < bound_on_kl(2)
    assert float(found.metrics["kl_bound"]) == pytest.approx(0.193147, abs=1e-6)


def test_one_of_two_by_weight_has_its_own_law():
    """p(y) sum over y' of p(y') 2 w(y) / (w(y) + w(y'))."""
    found, p, reward = short(SoftBestOfN(candidates=2))
    w = (reward / BETA).exp()
    exact = p * (p * 2 * w[:, None] / (w[:, None] + w)).sum(1)
    assert total_variation(said(found.draws), exact.tolist(), SHORT) < 0.05
    optimum = p * w / (p * w).sum()
    assert 0.5 * float((exact - optimum).abs().sum()) > 0.05


def test_statistical_rejection_is_near_where_candidates_are_many():
    """500 of 8,000 candidates are near the optimum, 4,000 of them far."""
    found, p, reward = short(RSO(candidates=8000), 500)
    exact = (p * (reward / BETA).exp() / (p * (reward / BETA).exp()).sum()).tolist()
    assert total_variation(said(found.draws), exact, SHORT) < 0.06
    found, _, _ = short(RSO(candidates=8000), 6000)
    assert total_variation(said(found.draws), exact, SHORT) > 0.06
