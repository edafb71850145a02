"""Law 5 for distillation, on the toy language model: which KL's gradient each way of learning from a teacher
has, to 1e-10."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from menon import ragged
from menon.advantage import Reinforce, Teacher
from menon.batch import Batch
from menon.loss import Distill, PolicyGradient
from menon.loss.aggregation import SequenceMean
from menon.update.terms import Term
from toy import Toy, batch_of_answers, expected_loss, log_probability, table

LENGTH = 5
CLOSE = {"atol": 1e-10, "rtol": 0.0}
PG = Term(PolicyGradient(), SequenceMean())


@pytest.fixture(scope="module")
def toy() -> tuple[Batch, Tensor, Tensor]:
    """Every answer with what the policy and the teacher give its tokens; the policy; the teacher."""
    theta, teacher = table(LENGTH, 0).requires_grad_(), table(LENGTH, 1, 0.5)
    batch = batch_of_answers(LENGTH, lambda answer: 0.0)
    states = batch.columns["state"]
    old, other = (Toy(t.detach(), states).columns(batch, ("logp",), {})["logp"] for t in (theta, teacher))
    return replace(batch, old_logp=old, teacher_logp=other), theta, teacher


def gradient(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of)[0]


def of_advantage(part: Teacher, toy: tuple[Batch, Tensor, Tensor], batch: Batch | None = None) -> Tensor:
    given, theta, _ = toy
    batch = part(given if batch is None else batch)
    p = log_probability(given, theta).exp().detach()
    return gradient(expected_loss(PG, batch, p, theta), theta)


def of_loss(part: Distill, toy: tuple[Batch, Tensor, Tensor]) -> Tensor:
    batch, theta, teacher = toy
    p = log_probability(batch, theta).exp().detach()
    return gradient(expected_loss(Term(part, SequenceMean()), batch, p, theta, teacher), theta)


def of_tokens(toy: tuple[Batch, Tensor, Tensor]) -> Tensor:
    """Sum over prefixes of their probability, held fixed, times the reverse KL of the next token."""
    batch, theta, teacher = toy
    p = log_probability(batch, theta).exp().detach()
    weight = torch.where(batch.is_action, ragged.spread(p, batch.offset), 0)
    visits = ragged.sum_by(weight, batch.columns["state"], len(theta))
    own, other = theta.log_softmax(-1), teacher.log_softmax(-1)
    return gradient((visits * (own.exp() * (own - other)).sum(-1)).sum(), theta)


def of_answers(toy: tuple[Batch, Tensor, Tensor]) -> Tensor:
    batch, theta, teacher = toy
    own, other = log_probability(batch, theta), log_probability(batch, teacher)
    return gradient((own.exp() * (own - other)).sum(), theta)


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_both_forms_have_the_gradient_of_each_token_s_reverse_kl(toy):
    exact = of_tokens(toy)
    assert float(exact.norm()) > 0.05
    for found in (of_advantage(Teacher(), toy), of_loss(Distill("reverse"), toy)):
        assert torch.allclose(found, exact, **CLOSE)
    assert float((exact - of_answers(toy)).norm()) > 0.1 * float(exact.norm())


def test_paying_for_what_follows_has_the_gradient_of_whole_answers(toy):
    exact = of_answers(toy)
    assert torch.allclose(of_advantage(Teacher(gamma=1), toy), exact, **CLOSE)
    between = of_advantage(Teacher(gamma=0.5), toy)
    for other in (exact, of_tokens(toy)):
        assert cosine(between, other) < 0.9999


def test_on_top_of_a_reward(toy):
    """The gradients of the two parts, summed."""
    batch, theta, _ = toy
    reward = torch.where(batch.token == 1, 0.5, 0.0).double() * batch.is_action
    credited = Reinforce()(replace(batch, reward=reward))
    p = log_probability(batch, theta).exp().detach()
    alone = gradient(expected_loss(PG, credited, p, theta), theta)
    both = of_advantage(Teacher(0.3, adds=True), toy, credited)
    assert torch.allclose(both, alone + 0.3 * of_tokens(toy), **CLOSE)


@pytest.mark.parametrize(
    ("part", "unbiased"),
    [
        (Distill("reverse", top_k=2), True),  # two tokens and a bucket of one are all three
        (Distill("reverse", top_k=1), False),
        (Distill("reverse", top_k=2, rest="renormalise"), False),
    ],
    ids=repr,
)
def test_the_likeliest_tokens_alone_are_biased(part, unbiased, toy):
    found, exact = of_loss(part, toy), of_tokens(toy)
    assert torch.allclose(found, exact, **CLOSE) == unbiased
    if not unbiased:
        assert cosine(found, exact) < 0.95
