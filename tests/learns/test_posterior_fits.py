"""Each loss that fits the optimum brings a policy there: KL(pi* || pi) below .01 on the toy language model,
from answers that were drawn, by the package's own path from terms to a loss."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from menon.advantage import PosteriorWeights
from menon.batch import Batch, take
from menon.engines.in_process import InProcessHost
from menon.loss import ContrastiveDivergence, EnergyNCE, InfoNCA, PolicyGradient, TrajectoryBalance
from menon.loss.aggregation import SequenceMean
from menon.rollout.posterior.likelihood import Scored
from menon.rollout.posterior.persistent import go_on
from menon.update.objective import Micro, loss_of, prepare
from menon.update.terms import MiniBatch, Term, Update
from toy import END, Answer, Toy, answers, batch_of_answers, log_probability, table
from toy_sampler import PROMPT, toy_target

LENGTH, BETA, STEPS = 4, 0.5, 250
REFERENCE = table(LENGTH, 1, 0.5)


def shaped(answer: Answer) -> float:
    """.25 per one, and .5 for a clean end."""
    return 0.25 * answer.count(1) + 0.5 * float(answer[-1] == END)


def known() -> tuple[Batch, Tensor, Tensor]:
    """Every answer with its log-probs by the reference, which wrote the text; probabilities of the reference
    and of the optimum."""
    batch = batch_of_answers(LENGTH, shaped)
    logp = Toy(REFERENCE, batch.columns["state"]).score(batch, ("logp",))["logp"]
    prior = log_probability(batch, REFERENCE).exp()
    weight = prior * (batch.outcome / BETA).exp()
    return replace(batch, ref_logp=logp, behaviour_logp=logp), prior, weight / weight.sum()


def drawn(batch: Batch, probability: Tensor, groups: int, size: int, random: torch.Generator) -> Batch:
    """Groups of answers from one distribution."""
    rows = torch.multinomial(probability, groups * size, True, generator=random)
    return replace(take(batch, rows), group=torch.arange(groups).repeat_interleave(size))


def both(batch: Batch, prior: Tensor, star: Tensor, random: torch.Generator) -> Batch:
    """512 answers of the optimum (acc 1) and 1024 of the reference (acc 0)."""
    rows = torch.cat(
        [torch.multinomial(p, n, True, generator=random) for p, n in ((star, 512), (prior, 1024))]
    )
    mixed = take(batch, rows)
    return replace(mixed, acc=(torch.arange(1536) < 512).double())


def loss_on(term: Term, batch: Batch, theta: Tensor) -> Tensor:
    states = batch.columns["state"]
    toy = Toy(theta, states)
    part = MiniBatch(Update({"fit": term}), torch.arange(batch.num_sequences), first=True)
    job = prepare(part, batch, InProcessHost({"policy": toy}))
    return loss_of(toy.columns(job.batch, term.loss.needs, {}), Micro(job.batch, job.terms))[0]


def distance(batch: Batch, theta: Tensor, star: Tensor) -> float:
    """KL(pi* || pi)."""
    return float((star * (star.log() - log_probability(batch, theta.detach()))).sum())


FITS = {
    "trajectory_balance": (TrajectoryBalance(BETA), None, 8),
    "infonca": (InfoNCA(BETA), None, 8),
    "posterior_weights": (PolicyGradient(), PosteriorWeights(BETA, "reference"), 128),
    "energy_nce": (EnergyNCE(), None, 0),
}


@pytest.mark.parametrize("name", FITS)
def test_a_fit_reaches_the_optimum(name):
    loss, advantage, size = FITS[name]
    batch, prior, star = known()
    random = torch.Generator().manual_seed(0)
    theta = REFERENCE.clone().requires_grad_()
    assert distance(batch, theta, star) > 0.1
    optimiser = torch.optim.Adam([theta], lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, STEPS)
    for _ in range(STEPS):
        some = drawn(batch, prior, 512 // size, size, random) if size else both(batch, prior, star, random)
        some = some if advantage is None else advantage(some)
        optimiser.zero_grad()
        loss_on(Term(loss, SequenceMean()), some, theta).backward()
        optimiser.step()
        schedule.step()
    assert distance(batch, theta, star) < 0.01


def test_on_its_own_answers_trajectory_balance_climbs_the_regularised_reward():
    """Expected gradient over all groups of two: -2 beta (1 - 1/2) times that of E[r] - beta KL(pi || ref),
    because the mean of the group contains the answer itself."""
    length = 2
    batch = batch_of_answers(length, shaped)
    theta, reference = table(length, 0).requires_grad_(), table(length, 1, 0.5)
    states = batch.columns["state"]
    batch = replace(batch, ref_logp=Toy(reference, states).score(batch, ("logp",))["logp"])
    own = log_probability(batch, theta)
    value = (own.exp() * (batch.outcome - BETA * (own - log_probability(batch, reference)))).sum()
    (true,) = torch.autograd.grad(value, theta)
    expected = torch.zeros_like(theta)
    p = own.detach().exp()
    for i in range(batch.num_sequences):
        for j in range(batch.num_sequences):
            pair = replace(take(batch, torch.tensor([i, j])), group=torch.zeros(2, dtype=torch.int64))
            loss = loss_on(Term(TrajectoryBalance(BETA), SequenceMean()), pair, theta)
            expected += p[i] * p[j] * torch.autograd.grad(loss, theta)[0]
    assert torch.allclose(expected, -BETA * true, rtol=0, atol=1e-10)
    assert float(true.norm()) > 0.05


def test_chains_in_their_target_give_the_gradient_of_the_likelihood():
    """Data from pi* and states from p = ref exp(score) / Z: the expected loss has half the gradient of
    KL(pi* || p), and for states of another distribution it has not."""
    batch, prior, star = known()
    count = batch.num_sequences
    score = torch.linspace(-1, 1, count, dtype=torch.float64).requires_grad_()
    model = prior * score.exp() / (prior * score.exp()).sum()
    (true,) = torch.autograd.grad((star * (star / model).log()).sum(), score)
    twice = replace(take(batch, torch.arange(count).repeat(2)), pair=torch.arange(count).repeat(2))
    twice = replace(twice, acc=(torch.arange(2 * count) < count).double())
    for states, exact in ((model.detach(), True), (prior, False)):
        column = score.repeat(2).repeat_interleave(twice.offset.diff())
        loss = ContrastiveDivergence()({"reward_after": column}, twice)
        share = (torch.cat([star, states]) / 2).repeat_interleave(twice.offset.diff())
        (found,) = torch.autograd.grad((share * loss).sum(), score)
        assert torch.allclose(found, true / 2, rtol=0, atol=1e-12) == exact


CHAINS, MOVES = 64, 1


def test_contrastive_divergence_reaches_the_optimum():
    """An energy for each answer, from draws of the optimum beside persistent chains of `suffix_mh`, which
    propose by the reference and accept by the energy as it is: KL(pi* || ref exp(-E) / Z) < .01."""
    batch, prior, star = known()
    every, place = answers(LENGTH), {answer: row for row, answer in enumerate(answers(LENGTH))}
    random = torch.Generator().manual_seed(0)
    score = torch.zeros(len(every), dtype=torch.float64, requires_grad=True)
    assert float((star * (star / prior).log()).sum()) > 0.1

    def scores(rollouts):
        return score.detach()[[place[tuple(one.answer_tokens.tolist())] for one in rollouts]].tolist()

    target = replace(toy_target(REFERENCE, LENGTH, shaped, 1.0, truncated="score"), grade=Scored(scores))
    prompts = [replace(PROMPT, index=row) for row in range(CHAINS)]
    with target.open() as writer:
        states = [one for group in writer.groups(prompts, 1) for one in group]
    optimiser = torch.optim.Adam([score], lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, STEPS)
    loss = ContrastiveDivergence()
    for step in range(STEPS):
        verdicts = target.grade.grade_all([one.rollout for one in states])
        states = [replace(one, verdict=verdict) for one, verdict in zip(states, verdicts, strict=True)]
        states = go_on(states, [step * MOVES] * CHAINS, MOVES, target)
        said = torch.tensor([place[tuple(one.rollout.answer_tokens.tolist())] for one in states])
        data = torch.multinomial(star, CHAINS, True, generator=random)
        pairs = take(batch, torch.cat([data, said]))
        acc = (torch.arange(2 * CHAINS) < CHAINS).double()
        pairs = replace(pairs, acc=acc, pair=torch.arange(CHAINS).repeat(2))
        column = score[torch.cat([data, said])].repeat_interleave(pairs.offset.diff())
        optimiser.zero_grad()
        share = SequenceMean()(pairs, pairs.trained)
        (share * loss({"reward_after": column}, pairs)).sum().backward()
        optimiser.step()
        schedule.step()
    model = prior * score.detach().exp()
    assert float((star * (star * model.sum() / model).log()).sum()) < 0.01
