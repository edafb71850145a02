"""The oracle's table: each estimator's and each objective's expected gradient on the toy language model,
against the true one.

A step is one group of three answers of up to three tokens, and all 15^3 of them are listed (as 680 without
order, each as often as it can be drawn). Every part sees one step at a time, so statistics over a step are
those of that group.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations_with_replacement, product
from typing import Any

import torch
from torch import Tensor

from menon import advantage as adv
from menon import arrange, ragged, select, shaping
from menon import loss as obj
from menon.batch import Batch, take
from menon.correction import importance
from menon.loss import aggregation as share
from menon.update.terms import Term
from toy import END, Answer, Toy, answers, batch_of_answers, expected_loss, log_probability, prefixes, table

LENGTH, GROUP = 3, 3


def right(answer: Answer) -> float:
    """Binary: at least one 1 and a clean end."""
    return float(1 in answer and answer[-1] == END)


def shaped(answer: Answer) -> float:
    """Many values: .25 per one, -1/16 per token, 1 for a clean end."""
    return 0.25 * answer.count(1) - 0.0625 * len(answer) + float(answer[-1] == END)


REWARDS: dict[str, Callable[[Answer], float]] = {"binary": right, "shaped": shaped}
UNBIASED = Term(obj.PolicyGradient(), share.SequenceMean())


def policy() -> Tensor:
    return table(LENGTH, 0).requires_grad_()


def reference() -> Tensor:
    return table(LENGTH, 1, 0.5)


def gradient(value: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(value, of)[0]


@cache
def singles(reward: str) -> Batch:
    """Every answer once, with what parts may read: log-probs, true values, correctness, the greedy answer's
    reward."""
    batch, theta = batch_of_answers(LENGTH, REWARDS[reward]), policy().detach()
    states = batch.columns["state"]
    logp, ref = (Toy(t, states).score(batch, ("logp",))["logp"] for t in (theta, reference()))
    p, said = log_probability(batch, theta).exp(), answers(LENGTH)
    greedy = said[int(torch.tensor([_greedy(a, theta) for a in said]).nonzero()[0])]
    inside = {s: torch.tensor([a[: len(s)] == s for a in said]) for s in prefixes(LENGTH)}
    value = torch.tensor(
        [float((p * batch.outcome)[i].sum() / p[i].sum()) for i in inside.values()], dtype=torch.float64
    )[states]
    return replace(
        batch,
        behaviour_logp=logp,
        ref_logp=ref,
        teacher_logp=ref,
        value=value,
        collision=theta.detach().softmax(-1).square().sum(-1)[states],
        acc=torch.tensor([right(a) for a in said], dtype=torch.float64),
        baseline=torch.full((len(said),), REWARDS[reward](greedy), dtype=torch.float64),
    )


def _greedy(answer: Answer, theta: Tensor) -> bool:
    row = prefixes(LENGTH)
    return all(int(theta[row[answer[:place]]].argmax()) == token for place, token in enumerate(answer))


@cache
def steps(reward: str, in_order: bool = False) -> tuple[tuple[Batch, ...], Tensor]:
    """Every group, and its probability; `in_order`: every order of it, for parts that take the first."""
    batch = singles(reward)
    p = log_probability(batch, policy().detach()).exp()
    rows = range(batch.num_sequences)
    members = list(product(rows, repeat=GROUP) if in_order else combinations_with_replacement(rows, GROUP))
    ways = [
        math.factorial(GROUP) / math.prod(math.factorial(n) for n in Counter(m).values()) for m in members
    ]
    ways = [1.0] * len(members) if in_order else ways
    groups = tuple(
        replace(take(batch, torch.tensor(m)), group=torch.zeros(GROUP, dtype=torch.int64)) for m in members
    )
    return groups, torch.tensor(ways, dtype=torch.float64) * p[torch.tensor(members)].prod(1)


def credited(batch: Batch, parts: Sequence[Any]) -> Batch:
    for part in parts:
        batch = part(batch, part.init())[0] if hasattr(part, "init") else part(batch)
    return batch


def learned(batch: Batch) -> Batch:
    """What is dealt into an update."""
    return batch if batch.learn is None else take(batch, batch.learn.nonzero()[:, 0])


def measured(parts: Sequence[Any], term: Any, reward: str, in_order: bool = False) -> Tensor:
    """The expected gradient that is climbed: minus that of the loss, as the package computes it for a step's
    first update."""
    theta = policy()
    groups, weight = steps(reward, in_order)
    old = "old_logp" in {name for part in parts for name in getattr(part, "reads", ())}
    done = [learned(credited(replace(g, old_logp=g.behaviour_logp) if old else g, parts)) for g in groups]
    loss = sum(
        (
            expected_loss(term, g, w[None], theta, reference())
            for g, w in zip(done, weight, strict=True)
            if g.num_sequences
        ),
        theta.sum() * 0,
    )
    return gradient(-loss, theta)


def exact(reward: str) -> Tensor:
    theta = policy()
    batch = singles(reward)
    return gradient((log_probability(batch, theta).exp() * batch.outcome).sum(), theta)


def exact_kl() -> Tensor:
    """The direction that lowers the KL of whole answers to the reference."""
    theta, batch = policy(), singles("binary")
    own, other = log_probability(batch, theta), log_probability(batch, reference())
    return gradient(-(own.exp() * (own - other)).sum(), theta)


def exact_token_kl() -> Tensor:
    """The direction that lowers the KL of each token to the reference, for prefixes as the policy writes them
    now."""
    theta, batch = policy(), singles("binary")
    states, p = batch.columns["state"], log_probability(batch, theta).exp().detach()
    own, other = theta.log_softmax(-1), reference().log_softmax(-1)
    by_token = torch.where(batch.is_action, (own.exp() * (own - other)).sum(-1)[states], 0)
    return gradient(-(p * ragged.sequence_sum(by_token, batch.offset)).sum(), theta)


def exact_entropy() -> Tensor:
    theta = policy()
    own = log_probability(singles("binary"), theta)
    return gradient(-(own.exp() * own).sum(), theta)


@dataclass(frozen=True)
class Row:
    """One line: what it is, how its advantages are made and what is differentiated."""

    name: str
    parts: tuple[Any, ...]
    term: Any = UNBIASED
    rewards: tuple[str, ...] = ("binary", "shaped")
    targets: tuple[Callable[[], Tensor], ...] = ()
    """In place of the gradients of the expected rewards."""
    aims: tuple[str, ...] = ()
    """Where a row can be unbiased for one target alone: what each of them is."""
    in_order: bool = False
    """See `steps`."""

    def numbers(self) -> list[tuple[float, float] | None]:
        """(cosine, length ratio) for each reward, or for each target; None where it is not asked."""
        if self.targets:
            mine = measured(self.parts, self.term, "binary", self.in_order)
            pairs = [compared(mine, target()) for target in self.targets]
            return [*pairs, *[None] * (len(REWARDS) - len(pairs))]
        found = {
            name: compared(measured(self.parts, self.term, name, self.in_order), exact(name))
            for name in self.rewards
        }
        return [found.get(name) for name in REWARDS]

    def line(self) -> str:
        numbers = self.numbers()
        found = verdict([n for n in numbers if n])
        for aim, number in zip(self.aims, numbers, strict=False):
            if number is not None and (one := verdict([number])) in ("unbiased", "scaled"):
                found = f"{one}, {aim}"
        return f"| {self.name} | {' | '.join(_cell(n) for n in numbers)} | {found} |"


def compared(mine: Tensor, true: Tensor) -> tuple[float, float]:
    """Cosine and length ratio."""
    size = float(mine.norm() / true.norm())
    cosine = float((mine * true).sum() / (mine.norm() * true.norm())) if size > 1e-9 else float("nan")
    return cosine, size


def _cell(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return "- | -"
    return f"{'-' if math.isnan(pair[0]) else f'{pair[0]:.4f}'} | {pair[1]:.4f}"


def verdict(pairs: Sequence[tuple[float, float]]) -> str:
    if all(size < 1e-9 for _, size in pairs):
        return "no gradient"
    if any(not cosine > 1 - 1e-9 for cosine, _ in pairs):
        return "biased"
    if all(abs(size - 1) < 1e-9 for _, size in pairs):
        return "unbiased"
    return (
        "scaled" if max(s for _, s in pairs) - min(s for _, s in pairs) < 1e-9 else "scaled, by the question"
    )


RLOO = (adv.RLOO(),)


def of_estimators() -> list[Row]:
    wrong_values = Wrong()
    return [
        Row("`reinforce`", (adv.Reinforce(),)),
        Row("`reinforce`, gamma .5", (adv.Reinforce(gamma=0.5),)),
        Row("`reinforce`, then `whiten`", (adv.Reinforce(), adv.Whiten())),
        Row("`reinforce_baseline`", (adv.ReinforceBaseline(),)),
        Row("`reinforce_pp`", (adv.ReinforcePP(),)),
        Row("`reinforce_pp`, whiten_scope sequence", (adv.ReinforcePP(whiten_scope="sequence"),)),
        Row("`reinforce_pp_baseline`", (adv.ReinforcePPBaseline(),)),
        Row("`reinforce_pp_baseline`, whiten_scope sequence", (adv.ReinforcePPBaseline("sequence"),)),
        Row("`rloo`", RLOO),
        Row("`remax`", (adv.ReMax(),)),
        *(
            Row(f"`grpo`, std_mode {mode}", (adv.GRPO(mode),))
            for mode in ("bessel", "population", "loo", "batch", "none")
        ),
        Row("`grpo_passk`", (adv.GRPOPassK(),)),
        Row("`opo`", (adv.OPO(),)),
        Row("`optimal_token`", (adv.OptimalToken(),)),
        Row("`gpg`", (adv.GPG(),)),
        Row("`maxrl` (no negative rewards)", (adv.MaxRL(),), rewards=("binary",)),
        Row("`gae`, lam 1, true values", (adv.GAE(),)),
        Row("`gae`, lam .5, true values", (adv.GAE(lam=0.5),)),
        Row("`gae`, lam 1, wrong values", (wrong_values, adv.GAE())),
        Row("`gae`, lam .5, wrong values", (wrong_values, adv.GAE(lam=0.5))),
        Row("`gae_normalised`, lam .5, first step, true values", (adv.NormalisedGAE(lam=0.5),)),
        Row("`vapo`, alpha .5, true values", (adv.VAPO(alpha=0.5),)),
        Row("`vapo`, alpha .5, wrong values", (wrong_values, adv.VAPO(alpha=0.5))),
        Row("`segment`, true values at every token", (Sampled(1), adv.SegmentCredit())),
        Row("`segment`, true values at every second token", (Sampled(2), adv.SegmentCredit())),
        Row("`segment`, true values, cut points below .5", (Sampled(0), adv.SegmentCredit())),
        Row("`segment`, values .2 off", (Sampled(2, 0.2), adv.SegmentCredit())),
        Row("`truncated_reward`, then `rloo`", (shaping.TruncatedReward(), *RLOO)),
        Row("`overlong`, limit 3, buffer 2, then `rloo`", (shaping.Overlong(3, 2), *RLOO)),
        Row("`length_reward`, then `rloo`", (shaping.LengthReward(), *RLOO)),
        Row("`reward_norm`, then `rloo`", (shaping.RewardNorm(), *RLOO)),
        Row("`kl_in_reward`, beta .1, then `reinforce`", (shaping.KLInReward(0.1), adv.Reinforce())),
        Row("`rloo`, then `kl_in_advantage`, beta .1", (*RLOO, adv.KLInAdvantage(0.1))),
    ]


@dataclass(frozen=True)
class Wrong:
    """A critic that has learned nothing yet: other numbers in place of the values, the same for the same
    state."""

    def __call__(self, batch: Batch) -> Batch:
        return replace(batch, value=0.3 * table(LENGTH, seed=7)[:, 0][batch.columns["state"]])


@dataclass(frozen=True)
class Sampled:
    """True values, or values that are off, where segments of so many tokens begin; 0: before every token with
    p < .5."""

    every: int
    off: float = 0.0

    def __call__(self, batch: Batch) -> Batch:
        uncertain = batch.need("behaviour_logp", self) < math.log(0.5)
        starts = batch.is_action & ((batch.position - 1) % self.every == 0 if self.every else uncertain)
        wrong = self.off * torch.where(batch.position > 2, 1.0, -1.0)
        return replace(batch, state_value=torch.where(starts, batch.need("value", self) + wrong, torch.nan))


def of_objectives() -> list[Row]:
    """With RLOO's unbiased advantages, and the mean over answers of sums over tokens where a part does not
    ask for another."""
    answers_mean, tokens = share.SequenceMean(), share.SequenceMeanTokenMean()

    def row(
        name: str, loss: Any, weigh: Any = answers_mean, chosen: Any = None, correction: tuple[Any, ...] = ()
    ) -> Row:
        return Row(name, RLOO, Term(loss, weigh, chosen, correction=correction))

    pg, ppo = obj.PolicyGradient(), obj.PPOClip()
    named = [pg, obj.Surrogate(), ppo, obj.DualClip(), obj.CISPO(), obj.SAPO(), obj.DPPO(), obj.VESPO()]
    named += [obj.KLCov(), obj.ClipCov()]
    sequences = [
        ("`gspo`", obj.GSPO()),
        ("`gspo`, ratio product", obj.GSPO(0.2, 0.2, "product")),
        ("`geo_mean`", obj.GeoMean()),
    ]
    chosen = [
        select.TopEntropy(),
        select.ProbabilityMask(below=0.5),
        select.NotTruncated(),
        select.EarlyStop(),
    ]
    return [
        *(row(f"`{loss.kind}`", loss) for loss in named),
        *(row(name, loss) for name, loss in sequences),
        row("`gspo_token`, share sequence_mean_token_mean", obj.GSPOToken(), tokens),
        row("`gspo_token`, share sequence_mean", obj.GSPOToken()),
        row("`ppo_clip`, share constant 3", ppo, share.Constant(LENGTH)),
        row("`ppo_clip`, share token_mean", ppo, share.TokenMean()),
        row("`ppo_clip`, share prompt_mean", ppo, share.PromptMean()),
        row("`ppo_clip`, share sequence_mean_token_mean", ppo, tokens),
        *(row(f"`ppo_clip`, select {part.kind}", ppo, share.SelectedMean(), part) for part in chosen[:1]),
        *(row(f"`ppo_clip`, select {part.kind}", ppo, answers_mean, part) for part in chosen[1:]),
        row("`ppo_clip`, correction importance", ppo, correction=(importance.Importance(),)),
        Row(
            "`nll`, select correct, against the reward", RLOO, Term(obj.NLL(), answers_mean, select.Correct())
        ),
    ]


def of_penalties() -> list[Row]:
    """Terms beside the policy's, against what they stand for over whole answers."""

    def row(name: str, loss: Any, target: Callable[[], Tensor] = exact_kl) -> Row:
        return Row(name, RLOO, Term(loss, share.SequenceMean()), targets=(target,))

    return [
        *(row(f"`kl`, estimator {k}", obj.KL(k)) for k in ("k1", "abs", "k2", "k3", "k1+", "k3+")),
        *(row(f"`kl`, estimator {k}, weigh current", obj.KL(k, "current")) for k in ("k1", "k3")),
        row("`exact_kl`", obj.ExactKL()),
        row("`exact_kl`, direction forward", obj.ExactKL("forward")),
        row("`old_kl`", obj.OldKL()),
        row("`entropy`", obj.EntropyBonus(), exact_entropy),
    ]


def of_distillation() -> list[Row]:
    """With the reference as the teacher; as a policy gradient, and as losses over the vocabulary."""
    targets, aims = (exact_token_kl, exact_kl), ("given the prefix", "whole answers")

    def row(name: str, parts: tuple[Any, ...], term: Any = UNBIASED) -> Row:
        return Row(name, parts, term, targets=targets, aims=aims)

    def loss(name: str, **settings: Any) -> Row:
        return row(f"`distill`, {name}", RLOO, Term(obj.Distill(**settings), share.SequenceMean()))

    def reverse(k: int, rest: Any) -> Row:
        return loss(f"reverse, top_k {k}, rest {rest}", divergence="reverse", top_k=k, rest=rest)

    tokens = Term(obj.PolicyGradient(), share.TokenMean())
    return [
        row("`teacher`", (adv.Teacher(),)),
        row("`teacher`, share token_mean", (adv.Teacher(),), tokens),
        row("`teacher`, gamma .5", (adv.Teacher(gamma=0.5),)),
        row("`teacher`, gamma 1", (adv.Teacher(gamma=1),)),
        row("`teacher`, most .5", (adv.Teacher(most=0.5),)),
        loss("reverse", divergence="reverse"),
        loss("jsd", divergence="jsd"),
        loss("forward"),
        reverse(1, "bucket"),
        reverse(2, "bucket"),
        reverse(2, "renormalise"),
        reverse(1, "renormalise"),
    ]


def of_arrangements() -> list[Row]:
    """With the reference as it is after a reset: the policy."""
    imitation, pairs = Term(obj.NLL(), share.SequenceMean()), Term(obj.DPO(beta=2.0), share.PairMean())
    binary = ("binary",)
    return [
        Row("`best_of`, `nll`", (arrange.BestOf(min_reward=None),), imitation, in_order=True),
        Row("`correct_of`, `nll`", (arrange.CorrectOf(),), imitation, binary),
        Row(
            "`correct_of`, `nll`, share token_mean",
            (arrange.CorrectOf(),),
            Term(obj.NLL(), share.TokenMean()),
            binary,
        ),
        Row("`best_worst`, `dpo`", (Reset(), arrange.BestWorst()), pairs, in_order=True),
        Row("`all_pairs`, `dpo`", (Reset(), arrange.AllPairs()), pairs, binary),
        Row("`varied`, `grpo` std_mode none", (arrange.Varied(), adv.GRPO("none"))),
    ]


@dataclass(frozen=True)
class Reset:
    """The reference is the policy."""

    def __call__(self, batch: Batch) -> Batch:
        return replace(batch, ref_logp=batch.behaviour_logp)


BETA = 0.5
"""Weight of the reference in the rows of fits."""


def exact_regularised() -> Tensor:
    """Of E[r] - beta KL(pi || ref)."""
    theta, batch = policy(), singles("binary")
    own, other = log_probability(batch, theta), log_probability(batch, reference())
    return gradient((own.exp() * (batch.outcome - BETA * (own - other))).sum(), theta)


def exact_cover() -> Tensor:
    """The direction that lowers KL(pi* || pi), pi* = ref exp(r / beta) / Z."""
    theta, batch = policy(), singles("binary")
    weight = (log_probability(batch, reference()) + batch.outcome / BETA).exp()
    return gradient((weight / weight.sum() * log_probability(batch, theta)).sum(), theta)


def of_fits() -> list[Row]:
    """Fits of the optimum, from groups that the policy wrote."""
    one, each = ("binary",), share.SequenceMean()
    weights = adv.PosteriorWeights(BETA)
    return [
        Row("`trajectory_balance`", (), Term(obj.TrajectoryBalance(BETA), each), one, (exact_regularised,)),
        Row("`rloo`, then `dvo`", (adv.RLOO(),), Term(obj.DVO(BETA), each), one, (exact_regularised,)),
        Row("`infonca`", (), Term(obj.InfoNCA(BETA), each), one, (exact_cover,)),
        Row("`posterior_weights`, then `pg`", (weights,), UNBIASED, one, (exact_cover,)),
    ]


HEAD = (
    "| part | cosine, binary | length, binary | cosine, shaped | length, shaped | verdict |\n"
    "|---|---|---|---|---|---|"
)
OF_DISTILLATION = (
    "| part | cosine, given the prefix | length, given the prefix | cosine, whole answers | length, whole "
    "answers | verdict |\n|---|---|---|---|---|---|"
)


GOLD: Answer = (1, 1)
"""The gold answer of the rows about its probability; the first token is the reasoning before it."""


def answer_probability(theta: Tensor, before: Answer) -> Tensor:
    """The mean probability of the gold answer's tokens after these, with gradient."""
    row, p = prefixes(LENGTH), theta.softmax(-1)
    tokens = [p[row[(*before, *GOLD[:place])], token] for place, token in enumerate(GOLD)]
    return torch.stack(tokens).mean()


def of_reasoning(theta: Tensor) -> Tensor:
    """[15] that probability after the first token of each answer; 0 where it is END."""
    return torch.stack(
        [theta.sum() * 0 if a[0] == END else answer_probability(theta, a[:1]) for a in answers(LENGTH)]
    )


def expected_probability(held: bool) -> Tensor:
    """The gradient of the expected probability; `held`: the probabilities stay as they are, and the answers
    alone change."""
    theta = policy()
    r = of_reasoning(theta).detach() if held else of_reasoning(theta)
    return gradient((log_probability(singles("binary"), theta).exp() * r).sum(), theta)


@dataclass(frozen=True)
class Read:
    """The columns of the answers' probability, by the policy."""

    def __call__(self, batch: Batch) -> Batch:
        theta = policy().detach()
        names, r = answers(LENGTH), of_reasoning(theta)
        last = ragged.last(batch.is_action, batch.offset)
        said = [tuple(batch.token[a + 1 : b].tolist()) for a, b in itertools.pairwise(batch.offset.tolist())]
        found = r[torch.tensor([names.index(answer) for answer in said])]
        empty = torch.zeros(batch.num_tokens, dtype=r.dtype)
        prior = torch.full_like(found, float(answer_probability(theta, ())))
        return replace(
            batch,
            answer_prob=empty.index_copy(0, last, found),
            answer_prior=empty.index_copy(0, last, prior),
        )


def of_answer_probability() -> list[Row]:
    """Against the gradient of the expected probability: held fixed, and with the change of the probabilities
    themselves."""
    targets = (partial(expected_probability, True), partial(expected_probability, False))
    aims = ("probabilities held", "all that changes")

    def row(name: str, *parts: Any) -> Row:
        return Row(name, (Read(), *parts), targets=targets, aims=aims)

    plain = shaping.AnswerProbability(debias=False)
    return [
        row("`answer_probability`, debias false, then `rloo`", plain, *RLOO),
        row("`answer_probability`, debias false, then `grpo`", plain, adv.GRPO()),
        row("`answer_probability`, then `rloo`", shaping.AnswerProbability(), *RLOO),
    ]


def tables() -> dict[str, list[Row]]:
    return {
        "Advantages": of_estimators(),
        "Objectives": of_objectives(),
        "Rejection sampling": of_arrangements(),
        "Penalties": of_penalties(),
        "Distillation": of_distillation(),
        "Probability of the gold answer": of_answer_probability(),
        "Fits": of_fits(),
    }


OF_PROBABILITY = (
    "| part | cosine, probabilities held | length, probabilities held | cosine, all that changes | length, "
    "all that changes | verdict |\n|---|---|---|---|---|---|"
)


def head(title: str) -> str:
    return {"Distillation": OF_DISTILLATION, "Probability of the gold answer": OF_PROBABILITY}.get(
        title, HEAD
    )
