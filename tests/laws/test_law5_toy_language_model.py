"""Law 5: on a language model that can be enumerated, every estimator's expected gradient is what theory says,
to 1e-10.

Expectations run over all 127 answers of up to 6 tokens, or over all 127^2 groups of two, weighted by their
exact probability.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from menon import ragged
from menon.advantage import GAE, GPG, GRPO, OPO, RLOO, VAPO, GRPOPassK, KLInAdvantage, MaxRL, Reinforce, ReMax
from menon.batch import Batch, take
from menon.loss import DPO, GSPO, KL, EntropyBonus, ExactKL, PolicyGradient, PPOClip
from menon.loss.aggregation import Constant, PairMean, PromptMean, SequenceMean, SequenceMeanTokenMean
from menon.shaping import KLInReward
from menon.update.terms import Term
from toy import (
    END,
    Answer,
    Toy,
    answers,
    batch_of_answers,
    expected_loss,
    groups_of,
    log_probability,
    prefixes,
    table,
)

LENGTH = 6
CLOSE = {"rtol": 0, "atol": 1e-10}
REINFORCE = Term(PolicyGradient(), SequenceMean())


def ones(answer: Answer) -> float:
    """Binary: an even number of ones, at least two, and a clean end."""
    count = answer.count(1)
    return float(answer[-1] == END and count > 0 and count % 2 == 0)


def shaped(answer: Answer) -> float:
    """Many values: .25 per one, -1/16 per token, 1 for a clean end (binary fractions: equal rewards are equal
    bit for bit)."""
    return 0.25 * answer.count(1) - 0.0625 * len(answer) + float(answer[-1] == END)


def policy(length: int = LENGTH, seed: int = 0, size: float = 1.0) -> Tensor:
    return table(length, seed, size).requires_grad_()


def near_a_reference() -> tuple[Tensor, Tensor]:
    """Policy and reference, near enough that the clamp of k3 (a token 13.6 times likelier under the
    reference) never acts."""
    return policy(size=0.6), table(LENGTH, 1, 0.4)


def gradient(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of)[0]


def true_gradient(batch: Batch, theta: Tensor, value_of_answer: Tensor | None = None) -> Tensor:
    """Of sum over y of p(y) R(y)."""
    value = batch.outcome if value_of_answer is None else value_of_answer
    return gradient((log_probability(batch, theta).exp() * value).sum(), theta)


def probability(batch: Batch, theta: Tensor) -> Tensor:
    return log_probability(batch, theta).exp().detach()


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_the_toy_lists_everything():
    batch = batch_of_answers(LENGTH, ones)
    assert (len(answers(LENGTH)), len(prefixes(LENGTH))) == (127, 63)
    assert float(probability(batch, policy()).sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("loss", [PolicyGradient(), PPOClip()], ids=lambda loss: loss.kind)
@pytest.mark.parametrize("reward", [ones, shaped])
def test_reinforce_is_unbiased(reward, loss):
    """PPO's first update has ratio 1, so it is the policy gradient as well."""
    batch, theta = batch_of_answers(LENGTH, reward), policy()
    expected = gradient(
        -expected_loss(Term(loss, SequenceMean()), Reinforce()(batch), probability(batch, theta), theta),
        theta,
    )
    exact = true_gradient(batch, theta)
    assert torch.allclose(expected, exact, **CLOSE)
    assert float(exact.norm()) > 0.05


def test_reward_to_go_is_unbiased_with_a_reward_on_every_token_and_discounting_is_not():
    """With gamma < 1 the first token is credited with less of what it causes."""
    batch, theta = (
        batch_of_answers(LENGTH, lambda a: [0.3 if token == 1 else -0.1 * k for k, token in enumerate(a)]),
        policy(),
    )
    exact = true_gradient(batch, theta)

    def of(part: Reinforce) -> Tensor:
        return gradient(-expected_loss(REINFORCE, part(batch), probability(batch, theta), theta), theta)

    assert torch.allclose(of(Reinforce()), exact, **CLOSE)
    assert float((of(Reinforce(gamma=0.5)) - exact).norm()) > 0.1 * float(exact.norm())


@pytest.fixture(scope="module")
def pairs():
    """For both rewards: all groups of two, and their probabilities."""
    theta = policy()
    found = {}
    for reward in (ones, shaped):
        batch = batch_of_answers(LENGTH, reward)
        big, members = groups_of(batch, 2)
        found[reward] = (batch, big, probability(batch, theta)[members].prod(1))
    return theta, found


@pytest.mark.parametrize("reward", [ones, shaped])
def test_grpo_without_std_is_half_the_gradient_at_two_samples(pairs, reward):
    """The own reward is in the baseline: (G - 1) / G. RLOO's baseline is the other answer alone: unbiased."""
    theta, found = pairs
    batch, big, weight = found[reward]
    exact = true_gradient(batch, theta)
    centred = gradient(-expected_loss(REINFORCE, GRPO(std_mode="none")(big), weight, theta), theta)
    assert torch.allclose(centred, 0.5 * exact, **CLOSE)
    alone = gradient(-expected_loss(REINFORCE, RLOO()(big), weight, theta), theta)
    assert torch.allclose(alone, exact, **CLOSE)


@pytest.mark.parametrize("reward", [ones, shaped])
def test_remax_is_unbiased_with_one_answer(reward):
    """The greedy answer's reward does not depend on what was drawn."""
    batch, theta = batch_of_answers(LENGTH, reward), policy()
    baseline = torch.full((batch.num_sequences,), 0.4, dtype=torch.float64)
    credited = ReMax()(replace(batch, baseline=baseline))
    expected = gradient(-expected_loss(REINFORCE, credited, probability(batch, theta), theta), theta)
    assert torch.allclose(expected, true_gradient(batch, theta), **CLOSE)


@pytest.mark.parametrize("reward", [ones, shaped])
def test_gpg_is_centring_times_the_groups_per_group_that_teaches(pairs, reward):
    """alpha is one number for a whole step (here: of all groups), so the direction stays that of centred
    rewards."""
    theta, found = pairs
    batch, big, weight = found[reward]
    teaches = big.outcome.view(-1, 2).diff()[:, 0] != 0
    alpha = len(teaches) / float(teaches.sum())
    measured = gradient(-expected_loss(REINFORCE, GPG()(big), weight, theta), theta)
    assert torch.allclose(measured, 0.5 * alpha * true_gradient(batch, theta), **CLOSE)
    assert alpha > 1.05


def test_opo_is_biased_by_its_own_length(pairs):
    """At two samples a_1 = (R_1 - R_2) L_2 / (L_1 + L_2): the expected gradient is that of the mean of this
    over frozen answers R_2, L_2. Where rewards go with lengths it points a little elsewhere (cosine .9625
    here)."""
    theta, found = pairs
    batch, big, weight = found[shaped]
    p, length, outcome = probability(batch, theta), batch.action_lengths.double(), batch.outcome
    own = ((outcome[:, None] - outcome) * length / (length[:, None] + length) * p).sum(1)
    measured = gradient(-expected_loss(REINFORCE, OPO()(big), weight, theta), theta)
    assert torch.allclose(measured, true_gradient(batch, theta, own), **CLOSE)
    assert cosine(measured, true_gradient(batch, theta)) == pytest.approx(0.9625, abs=1e-4)


@pytest.mark.parametrize("reward", [ones, shaped])
def test_pass_at_k_credit_climbs_the_best_of_two(pairs, reward):
    """The better of two gets its lead: half of the gradient of E[max(R_1, R_2)], both answers drawn from the
    policy."""
    theta, found = pairs
    batch, big, weight = found[reward]
    p, outcome = log_probability(batch, theta).exp(), batch.outcome
    exact = gradient((p[:, None] * p * torch.maximum(outcome[:, None], outcome)).sum(), theta)
    measured = gradient(-expected_loss(REINFORCE, GRPOPassK()(big), weight, theta), theta)
    assert torch.allclose(measured, 0.5 * exact, **CLOSE)


def test_maxrl_weighs_questions_towards_their_likelihood():
    """Binary reward, G = 4, pass rate p, q = 1 - p. With c' correct among the other three a correct answer
    gets (3 - c') / (c' + 1), a wrong one -1 (0 at c' = 0). So the gradient of p is multiplied by 3 q^3 + 2 *
    3 p q^2 + (4 / 3) * 3 p^2 q + p^3 = 1 + q + q^2: the first three terms of 1 / p, which log p would have.
    """
    theta = policy(length=2, seed=3)
    batch = batch_of_answers(2, lambda a: float(a[0] == 1))
    q = 1 - float((probability(batch, theta) * batch.outcome).sum())
    big, members = groups_of(batch, 4)
    weight = probability(batch, theta)[members].prod(1)
    measured = gradient(-expected_loss(REINFORCE, MaxRL()(big), weight, theta), theta)
    assert torch.allclose(measured, (1 + q + q**2) * true_gradient(batch, theta), **CLOSE)
    assert 0.1 < q < 0.9


def test_grpo_with_std_climbs_the_chance_to_win(pairs):
    """G = 2: the deviation of two rewards is |R_1 - R_2| / sqrt 2, so A = sign(R_1 - R_2) / sqrt 2: how much
    better does not matter. Expected gradient: 1 / sqrt 2 times that of P(win) - P(lose) against an answer of
    the frozen policy.

    With two values of the reward that is 1 / sqrt 2 times the true gradient; with many it points elsewhere
    (cosine .934 here).
    """
    theta, found = pairs
    found_cosine = {}
    for reward, (batch, big, weight) in found.items():
        p, outcome = probability(batch, theta), batch.outcome
        wins = ((outcome[:, None] - outcome).sign() * p).sum(1)
        stated = true_gradient(batch, theta, wins / math.sqrt(2))
        measured = gradient(-expected_loss(REINFORCE, GRPO(eps=0)(big), weight, theta), theta)
        assert torch.allclose(measured, stated, **CLOSE)
        found_cosine[reward] = cosine(measured, true_gradient(batch, theta))
    assert found_cosine[ones] == pytest.approx(1, abs=1e-10)
    assert found_cosine[shaped] == pytest.approx(0.9336, abs=1e-4)


def test_grpo_with_std_weighs_questions_by_difficulty():
    """Binary reward, G = 4, pass rate p, q = 1 - p. Sample deviation with c of 4 correct: sqrt(c (4 - c) /
    12) = .5, .577350, .5; so correct and wrong answers get 1.5, -.5 at c = 1, +-.866025 at c = 2, .5, -1.5 at
    c = 3, and 0 at c = 0 and 4.

    With c' correct among the other three, being correct instead of wrong gains 1.5, 1.366025, 1.366025, 1.5
    at c' = 0, 1, 2, 3. So the gradient of p is multiplied by 1.5 (q^3 + p^3) + 1.366025 * 3 p q (q + p) = 1.5
    - .401924 p q: questions that are easy or hard weigh more than even ones. Without the deviation the factor
    is 3/4 for all.
    """
    theta = policy(length=2, seed=3)
    batch = batch_of_answers(2, lambda a: float(a[0] == 1))
    p = float((probability(batch, theta) * batch.outcome).sum())
    big, members = groups_of(batch, 4)
    weight = probability(batch, theta)[members].prod(1)
    measured = gradient(-expected_loss(REINFORCE, GRPO(eps=0)(big), weight, theta), theta)
    factor = 1.5 - 3 * (1.5 - (0.5 + math.sqrt(3) / 2)) * p * (1 - p)
    assert torch.allclose(measured, factor * true_gradient(batch, theta), **CLOSE)
    assert 1.39 < factor < 1.49
    assert 0.1 < p < 0.9


def test_token_mean_climbs_reward_per_token(pairs):
    """Dividing by lengths changes the objective. One answer per update: the expected gradient is that of E[R
    / L], as it is for the sequence mean of token means at any number of answers. Two: that of E[2 R_1 / (L_1
    + L_2)], L_2 of a frozen policy. Where rewards grow with length both point away from the true gradient
    (cosines -.364 and -.067 here).
    """
    theta, found = pairs
    batch, big, weight = found[shaped]
    p, length = probability(batch, theta), batch.action_lengths
    exact = true_gradient(batch, theta)
    for share in (PromptMean(), SequenceMeanTokenMean()):
        one = gradient(-expected_loss(Term(PolicyGradient(), share), Reinforce()(batch), p, theta), theta)
        assert torch.allclose(one, true_gradient(batch, theta, batch.outcome / length), **CLOSE)
    assert cosine(one, exact) == pytest.approx(-0.3639, abs=1e-4)
    both = (p * 2 * batch.outcome[:, None] / (length[:, None] + length)).sum(1)
    two = gradient(
        -expected_loss(Term(PolicyGradient(), PromptMean()), Reinforce()(big), weight, theta), theta
    )
    assert torch.allclose(two, true_gradient(batch, theta, both), **CLOSE)
    assert cosine(two, exact) == pytest.approx(-0.0674, abs=1e-4)


def test_constant_share_is_unbiased_up_to_its_length():
    batch, theta = batch_of_answers(LENGTH, shaped), policy()
    term = Term(PolicyGradient(), Constant(8))
    expected = gradient(-expected_loss(term, Reinforce()(batch), probability(batch, theta), theta), theta)
    assert torch.allclose(8 * expected, true_gradient(batch, theta), **CLOSE)


def test_gspo_on_policy_is_the_sequence_mean_of_token_means(pairs):
    """At ratio 1 each answer's gradient is divided by its length."""
    theta, found = pairs
    batch, big, weight = found[shaped]
    credited = GRPO(std_mode="none")(big)
    gspo = gradient(expected_loss(Term(GSPO(), SequenceMean()), credited, weight, theta), theta)
    tokens = gradient(
        expected_loss(Term(PolicyGradient(), SequenceMeanTokenMean()), credited, weight, theta), theta
    )
    assert torch.allclose(gspo, tokens, **CLOSE)
    baseline = float((probability(batch, theta) * batch.outcome).sum())
    stated = true_gradient(batch, theta, 0.5 * (batch.outcome - baseline) / batch.action_lengths)
    assert torch.allclose(-gspo, stated, **CLOSE)


def exact_values(batch: Batch, theta: Tensor) -> Tensor:
    """[N] expected outcome in the state before each token: enumerated, no recursion of the package is
    used."""
    p, outcome = probability(batch, theta), batch.outcome
    said = answers(LENGTH)
    value = {}
    for state in prefixes(LENGTH):
        inside = torch.tensor([a[: len(state)] == state for a in said])
        value[state] = float((p * outcome)[inside].sum() / p[inside].sum())
    return torch.tensor(
        [value[a[: max(place - 1, 0)]] for a in said for place in range(len(a) + 1)], dtype=torch.float64
    )


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_gae_is_unbiased_with_the_true_values_at_any_lambda(lam):
    batch, theta = batch_of_answers(LENGTH, shaped), policy()
    credited = GAE(lam=lam)(replace(batch, value=exact_values(batch, theta)))
    expected = gradient(-expected_loss(REINFORCE, credited, probability(batch, theta), theta), theta)
    assert torch.allclose(expected, true_gradient(batch, theta), **CLOSE)


def test_gae_with_wrong_values_is_unbiased_at_lambda_one_only():
    batch, theta = batch_of_answers(LENGTH, shaped), policy()
    wrong = 0.3 * table(LENGTH, seed=7)[:, 0][batch.columns["state"]]
    exact = true_gradient(batch, theta)

    def of(lam: float) -> Tensor:
        credited = GAE(lam=lam)(replace(batch, value=wrong))
        return gradient(-expected_loss(REINFORCE, credited, probability(batch, theta), theta), theta)

    assert torch.allclose(of(1.0), exact, **CLOSE)
    assert float((of(0.5) - exact).norm()) > 0.05 * float(exact.norm())


def test_a_lambda_by_length_is_biased_even_with_the_true_values():
    """The length of an answer is known only at its end, so lambda tells of what is still to be drawn. With
    alpha = .5 (lambda 0 up to 2 tokens, 2/3 at 6) the expected gradient is off by 8 % of its size here; the
    critic's targets are as without it."""
    batch, theta = batch_of_answers(LENGTH, shaped), policy()
    credited = VAPO(alpha=0.5)(replace(batch, value=exact_values(batch, theta)))
    expected = gradient(-expected_loss(REINFORCE, credited, probability(batch, theta), theta), theta)
    exact = true_gradient(batch, theta)
    assert float((expected - exact).norm() / exact.norm()) == pytest.approx(0.0807, abs=1e-4)
    assert torch.equal(credited.ret, GAE(lam=1)(replace(batch, value=exact_values(batch, theta))).ret)


def test_value_targets_average_to_the_true_values():
    """Given a state, the expected return of GAE with true values is its value, whatever lambda."""
    batch, theta = batch_of_answers(LENGTH, shaped), policy()
    value = exact_values(batch, theta)
    ret = GAE(lam=0.7)(replace(batch, value=value)).ret
    weight = torch.where(batch.is_action, ragged.spread(probability(batch, theta), batch.offset), 0)
    states = batch.columns["state"]
    mean = ragged.sum_by(weight * ret, states, 63) / ragged.sum_by(weight, states, 63)
    assert torch.allclose(mean[states][batch.is_action], value[batch.is_action], **CLOSE)


def sequence_kl(batch: Batch, theta: Tensor, reference: Tensor) -> Tensor:
    own, other = log_probability(batch, theta), log_probability(batch, reference)
    return (own.exp() * (own - other)).sum()


@pytest.mark.parametrize(
    "loss", [ExactKL(), KL("k1"), KL("k3")], ids=lambda loss: getattr(loss, "estimator", loss.kind)
)
def test_values_of_the_kl_are_unbiased(loss):
    """Summed over an answer, each estimates the KL of whole answers; k2 does not."""
    theta, reference = near_a_reference()
    batch = with_reference(batch_of_answers(LENGTH, ones), theta, reference)
    p = probability(batch, theta)
    exact = float(sequence_kl(batch, theta, reference).detach())
    value = expected_loss(Term(loss, SequenceMean()), batch, p, theta, reference)
    assert float(value.detach()) == pytest.approx(exact, abs=1e-10)
    biased = float(expected_loss(Term(KL("k2"), SequenceMean()), batch, p, theta, reference).detach())
    assert biased - exact == pytest.approx(-0.008268, abs=1e-5)


def with_reference(batch: Batch, theta: Tensor, reference: Tensor) -> Batch:
    states = batch.columns["state"]
    old, ref = (Toy(t.detach(), states).columns(batch, ("logp",), {})["logp"] for t in (theta, reference))
    return replace(batch, old_logp=old, ref_logp=ref)


def test_gradients_of_the_kl_as_a_loss():
    """On the policy's own samples: k1 has none; k2 has that of the exact KL of each token given its prefix;
    k3 that of the forward KL; and none has that of the KL of whole answers, because a token does not pay for
    those that it leads to.
    """
    theta, reference = near_a_reference()
    batch = with_reference(batch_of_answers(LENGTH, ones), theta, reference)
    p = probability(batch, theta)

    def of(loss) -> Tensor:
        return gradient(expected_loss(Term(loss, SequenceMean()), batch, p, theta, reference), theta)

    weight = torch.where(batch.is_action, ragged.spread(p, batch.offset), 0)
    visits = ragged.sum_by(weight, batch.columns["state"], 63)
    own, other = theta.log_softmax(-1), reference.log_softmax(-1)
    reverse = gradient((visits * (own.exp() * (own - other)).sum(-1)).sum(), theta)
    forward = gradient((visits * (other.exp() * (other - theta.log_softmax(-1))).sum(-1)).sum(), theta)
    assert float(of(KL("k1")).abs().max()) < 1e-10
    assert torch.allclose(of(ExactKL()), reverse, **CLOSE)
    assert torch.allclose(of(KL("k2")), reverse, **CLOSE)
    assert torch.allclose(of(KL("k3")), forward, **CLOSE)
    whole = gradient(sequence_kl(batch, theta, reference), theta)
    assert float((reverse - whole).norm()) > 0.1 * float(whole.norm())


def test_kl_in_the_reward_has_the_gradient_of_whole_answers():
    """k1 in the reward, then return-to-go: the gradient of E[R] - beta KL(pi || ref)."""
    beta, theta, reference = 0.4, policy(), table(LENGTH, 1, 0.5)
    batch = with_reference(batch_of_answers(LENGTH, shaped), theta, reference)
    part = KLInReward(beta=beta)
    paid, _ = part(batch, part.init())
    measured = gradient(-expected_loss(REINFORCE, Reinforce()(paid), probability(batch, theta), theta), theta)
    exact = true_gradient(batch, theta) - beta * gradient(sequence_kl(batch, theta, reference), theta)
    assert torch.allclose(measured, exact, **CLOSE)


def test_kl_beside_the_comparison_is_the_same_where_every_token_pays_for_the_rest():
    """Taken off the advantage as a return-to-go, or off the rewards before REINFORCE; each token paying for
    itself is less."""
    beta, theta, reference = 0.4, policy(), table(LENGTH, 1, 0.5)
    batch = with_reference(batch_of_answers(LENGTH, shaped), theta, reference)
    part = KLInReward(beta=beta)
    paid, _ = part(batch, part.init())
    after = KLInAdvantage(beta, "rest")(Reinforce()(batch))
    assert torch.allclose(after.advantage, Reinforce()(paid).advantage, **CLOSE)
    own = KLInAdvantage(beta, "own")(Reinforce()(batch))
    measured = gradient(-expected_loss(REINFORCE, own, probability(batch, theta), theta), theta)
    exact = true_gradient(batch, theta) - beta * gradient(sequence_kl(batch, theta, reference), theta)
    assert float((measured - exact).norm()) > 0.02 * float(exact.norm())


def optimum(batch: Batch, reference: Tensor, beta: float) -> tuple[Tensor, float]:
    """The table of pi* = ref exp(R / beta) / Z, and log Z: one backward pass over all prefixes."""
    weight = (log_probability(batch, reference) + batch.outcome / beta).exp()
    said = answers(LENGTH)
    mass = [
        [
            float(weight[torch.tensor([a[: len(s) + 1] == (*s, token) for a in said])].sum())
            for token in (0, 1, END)
        ]
        for s in prefixes(LENGTH)
    ]
    return torch.tensor(mass, dtype=torch.float64).log(), math.log(float(weight.sum()))


def test_the_optimum_of_the_regularised_objective():
    """Korbak et al., arXiv 2205.11275: at pi* the expected gradient of KLInReward and REINFORCE is zero, and
    J = beta log Z - beta KL(pi || pi*)."""
    beta, reference = 0.4, table(LENGTH, 1, 0.5)
    bare = batch_of_answers(LENGTH, shaped)
    star, log_z = optimum(bare, reference, beta)
    star.requires_grad_()
    batch = with_reference(bare, star, reference)
    part = KLInReward(beta=beta)
    paid, _ = part(batch, part.init())
    p = probability(batch, star)
    at_optimum = gradient(-expected_loss(REINFORCE, Reinforce()(paid), p, star), star)
    assert float(at_optimum.abs().max()) < 1e-10
    # Not trivially: credit is the same for every answer, beta log Z, but not zero.
    assert paid.outcome.tolist() == pytest.approx([beta * log_z] * 127, abs=1e-10)
    assert beta * log_z > 0.5
    theta = table(LENGTH, 0)
    elsewhere = with_reference(bare, theta, reference)
    paid, _ = part(elsewhere, part.init())
    j = float((probability(bare, theta) * paid.outcome).sum())
    gap = float(sequence_kl(bare, theta, star.detach()))
    assert j == pytest.approx(beta * log_z - beta * gap, abs=1e-10)


def test_dpo_s_reward_of_the_optimum_is_the_reward():
    """beta log(pi* / ref) = R - beta log Z: the margin of every pair of answers is the difference of their
    rewards."""
    beta, reference = 0.4, table(LENGTH, 1, 0.5)
    bare = batch_of_answers(LENGTH, shaped)
    star, _ = optimum(bare, reference, beta)
    batch = with_reference(bare, star, reference)
    rows = torch.tensor([5, 100, 40, 3, 90, 62])
    few = replace(
        take(batch, rows), pair=torch.tensor([0, 0, 1, 1, 2, 2]), acc=torch.tensor([1.0, 0, 1, 0, 1, 0])
    )
    now = {"logp": few.old_logp}
    loss = DPO(beta=beta)(now, few)
    margins = few.outcome[0::2] - few.outcome[1::2]
    assert float(loss.sum()) == pytest.approx(
        float(-torch.nn.functional.logsigmoid(margins).sum()), abs=1e-10
    )
    assert float(DPO(beta=beta).metrics(now, few)["pairs/margin"]) == pytest.approx(
        float(margins.mean()), abs=1e-10
    )
    assert float(PairMean()(few, few.trained).max()) == pytest.approx(1 / 3)


def test_entropy_bonus_measures_the_entropy_of_answers():
    batch, theta = batch_of_answers(LENGTH, ones), policy()
    p = probability(batch, theta)
    bonus = float(expected_loss(Term(EntropyBonus(), SequenceMean()), batch, p, theta).detach())
    assert bonus == pytest.approx(float((p * p.log()).sum()), abs=1e-10)
