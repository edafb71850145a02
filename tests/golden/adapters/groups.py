"""Group estimators of verl, SkyRL, TRL, NeMo-RL, OpenRLHF, Oat, ORZ, SPO, prime-rl, AReaL and GPG's
authors."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from golden.adapters.token_advantages import centred_or_white
from golden.adapters.tools import batch_with, check_advantages, compare_loss, mode_of, run, weighed
from golden.records import Record
from menon import ragged
from menon.advantage import GPG, GRPO, OPO, RLOO, GRPOPassK, KLInAdvantage, MaxRL, Whiten
from menon.batch import Batch, take, tokens_of
from menon.loss import KL, PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.shaping import KLInReward
from menon.update.terms import Term
from rows import batch_of, rows_of

EPS = ("epsilon", "std_eps", "eps")


def eps_of(record: Record) -> float:
    default = {"oat": 1e-8, "spo": 1e-8}.get(record.function.partition(".")[0], 1e-6)
    return next((float(record.settings[name]) for name in EPS if name in record.settings), default)


def credit(record: Record, *parts: Any, **given: Any) -> None:
    """Where rewards are given by token, the sum of a row is compared, wherever they lie."""
    outcome = given.pop("outcome", None)
    if outcome is None:
        by_token = record.inputs.get("token_level_rewards")
        outcome = record.inputs["rewards"] if by_token is None else by_token.sum(1)
    check_advantages(record, run(record.batch(outcome=outcome, **given), *parts))


def grpo(record: Record) -> None:
    """verl's and SkyRL's names of "with the deviation"."""
    settings = record.settings
    with_std = settings.get("norm_by_std", settings.get("grpo_norm_by_std", True))
    credit(record, GRPO(mode_of(settings.get("ddof", 1)) if with_std else "none", eps=eps_of(record)))


def grpo_passk(record: Record) -> None:
    credit(
        record,
        GRPOPassK("bessel" if record.settings.get("norm_by_std", True) else "none", eps=eps_of(record)),
    )


def maxrl(record: Record) -> None:
    """prime-rl adds no eps; its rows are one group."""
    given = {} if "group_index" in record.inputs else {"group": [0] * len(record.inputs["rewards"])}
    credit(record, MaxRL(eps=record.settings.get("epsilon", 0.0)), **given)


def prime_grpo(record: Record) -> None:
    """The length penalty is a reward of the reward stage, so its record is a departure."""
    credit(record, GRPO("none"), group=[0] * len(record.inputs["rewards"]))


def nemo_grpo(record: Record) -> None:
    """Its leave-one-out without a deviation is RLOO."""
    settings = record.settings
    alone, scaled = settings.get("use_leave_one_out_baseline", True), settings.get("normalize_rewards", True)
    mode: Any = ("loo" if alone else "bessel") if scaled else (None if alone else "none")
    credit(record, GRPO(mode, eps=eps_of(record)) if mode else RLOO())


def openrlhf(record: Record) -> None:
    """Rewards are compared and then clipped; the penalty is taken off as a return-to-go; only one kind is
    whitened after."""
    settings = record.settings
    part = {"group_norm": GRPO("bessel", eps=1e-9), "rloo": RLOO()}.get(
        record.function.rsplit(".", 1)[1], GRPO("none")
    )
    zero = np.zeros_like(record.inputs["kl"])
    batch = run(record.batch(outcome="rewards", old_logp="kl", ref_logp=zero), part)
    if settings.get("reward_clip_range"):
        batch = clip_credit(batch, *settings["reward_clip_range"])
    batch = run(batch, KLInAdvantage(max(settings["kl_coef"], 0.0), "rest"))  # its gamma is always 1 here
    record.check("returns", rows_of(batch, batch.advantage, record.width))
    if record.function.endswith("reinforce_baseline"):
        batch = run(batch, centred_or_white(record, batch))
    check_advantages(record, batch)


def clip_credit(batch: Any, low: float, high: float) -> Any:
    return replace(batch, advantage=batch.advantage.clamp(low, high))


def oat(record: Record) -> None:
    settings = record.settings
    mode = mode_of(settings.get("ddof", 1)) if settings["critic_type"] == "grpo" else "none"
    credit(record, GRPO(mode, eps=eps_of(record)))


def orz(record: Record) -> None:
    batch = run(record.batch(outcome="rewards"), GRPO("none"))
    record.check("rewards", rows_of(batch, batch.advantage)[:, 0])


def spo(record: Record) -> None:
    mode = mode_of(record.settings.get("ddof", 0))
    credit(record, RLOO() if record.variant == "rloo" else GRPO(mode, eps=eps_of(record)))


def given_rewards(record: Record) -> dict[str, Any]:
    """A row without any reward is one whose grader failed; the weighted sum of reward functions is the reward
    stage's work."""
    rewards = np.asarray(record.inputs["rewards_per_func"], dtype=np.float64)
    weights = record.inputs.get("reward_weights", np.ones(rewards.shape[1]))
    return {"outcome": np.nansum(rewards * weights, axis=1), "valid": ~np.isnan(rewards).all(1)}


def trl_grpo(record: Record) -> None:
    settings = record.settings
    names = {"none": "none", "False": "none", "batch": "batch", "group": "bessel", "True": "bessel"}
    eps = settings.get("std_eps", 1e-4)
    ddof = settings.get("ddof", 1)
    if settings.get("multi_objective_aggregation", "sum_then_normalize") == "sum_then_normalize":
        mode: Any = names[str(settings.get("scale_rewards", "group"))]
        mode = mode_of(ddof) if mode == "bessel" else mode
        credit(record, GRPO(mode, eps=eps), **given_rewards(record))
        return
    each = np.asarray(record.inputs["rewards_per_func"], dtype=np.float64)
    part = GRPO(mode_of(ddof), eps=eps)
    found = [
        run(record.batch(outcome=np.nan_to_num(column), valid=~np.isnan(column)), part).advantage
        for column in each.T
    ]
    weights = record.inputs.get("reward_weights", np.ones(each.shape[1]))
    total = sum(weight * column for weight, column in zip(weights, found, strict=True))
    summed = record.batch(
        advantage=rows_of(record.batch(), total, record.width), valid=~np.isnan(each).all(1)
    )
    check_advantages(record, run(summed, Whiten(eps=eps, eps_on="deviation", scope="sequence")))


def trl_rloo(record: Record) -> None:
    """The penalty is part of the rewards that are compared."""
    settings, given = record.settings, given_rewards(record)
    if settings.get("reward_clip_range"):
        given["outcome"] = np.clip(given["outcome"], *settings["reward_clip_range"])
    beta = settings.get("beta", 0.0)
    if beta:
        given |= {"old_logp": "old_logprobs", "ref_logp": "ref_logprobs"}
    parts: list[Any] = [KLInReward(beta)] if beta else []
    after = []
    if settings.get("normalize_advantages", False):
        after = [Whiten(eps=settings.get("norm_eps", 1e-4), eps_on="deviation", scope="sequence")]
        group = record.inputs["group_index"]
        alone = [int(given["valid"][group == name].sum()) == 1 for name in np.unique(group)]
        if any(alone):
            record.facts.add("one answer of a group has a reward")
    credit(record, *parts, RLOO(), *after, **given)


def gpg_verl(record: Record) -> None:
    """Its F divides."""
    norm = record.settings.get("f_norm", 1.0)
    batch = record.batch(outcome=record.inputs["token_level_rewards"].sum(1))
    check_advantages(record, weighed(run(batch, GPG()), 1 / norm))


def gpg_authors(record: Record) -> None:
    """They divide the loss by the share of groups that teach, and the recorded advantages come before
    that."""
    settings = record.settings
    plain = GRPO("bessel" if settings.get("scale_rewards") else "none", eps=settings.get("std_eps", 1e-4))
    one_token = batch_of(
        np.ones((len(record.mask), 1)), outcome=record.inputs["rewards"], group=record.inputs["group_index"]
    )
    check_advantages(record, run(one_token, plain))  # theirs has one number per row, for empty rows too
    batch = run(batch_with(record, outcome="rewards"), plain)
    if settings.get("adjust_gd", False):
        batch = run(batch, GPG(plain.std_mode, eps=plain.eps))  # type: ignore[arg-type]
    terms = [(1.0, Term(PolicyGradient(), TokenMean()))]
    if settings.get("beta", 0.0):
        scale = 1 / float(record.outputs["inverse_alpha"]) if settings.get("adjust_gd", False) else 1.0
        terms.append((scale, Term(KL("k3"), TokenMean(), coef=settings["beta"])))
    compare_loss(record, *terms, batch=batch)


def areal_rewards(record: Record) -> None:
    """Rewards are answers of one token. The deviation is around the mean that was taken off, at a level of
    its own. Numbers centred over groups or over the batch have the mean 0, so they are only rescaled."""
    settings, x = record.settings, record.inputs["x"]
    if "response_mask" in record.inputs:
        exact = replace(record, precision="float64")  # as its statistics are
        batch, count = exact.batch(advantage="x", group=blocks(record, len(x))), record.mask.sum(1)
    else:
        batch = batch_of(np.ones((len(x), 1)), advantage=x[:, None], group=blocks(record, len(x)))
        count = np.ones(len(x))
    centre, scale = settings.get("mean_level"), settings.get("std_level")
    group = np.asarray(batch.group)
    if scale is not None and centre != scale and centre != "group":
        record.facts.add("a deviation around another mean")
    if centre is not None:
        batch = each_level(batch, group, centre, Whiten("none"))
    if centre is not None and settings.get("mean_leave1out", False):
        batch = weighed(batch, left_out(record, batch, group, count, centre))
    if scale is not None:
        mode = mode_of(settings.get("std_unbiased", True))
        white = Whiten(mode, eps=settings.get("eps", 1e-5), eps_on="deviation", centre=False)
        batch = each_level(batch, group, scale, white)
    record.check("normalized", rows_of(batch, batch.advantage, record.width).reshape(x.shape))


def blocks(record: Record, count: int) -> np.ndarray:
    """Its groups are runs of rows of one size."""
    size = record.settings.get("group_size", 1)
    return np.minimum(np.arange(count) // size, max(count // size - 1, 0))


def each_level(batch: Batch, group: np.ndarray, level: str, part: Whiten) -> Batch:
    """A part over the whole batch, or over each group apart."""
    if level == "batch":
        return run(batch, part)
    found = torch.zeros_like(batch.reward)
    for name in np.unique(group):
        rows = torch.as_tensor(np.flatnonzero(group == name))
        tokens = tokens_of(batch.offset, rows)
        found[tokens] = run(take(batch, rows), part).need("advantage", part)
    return replace(batch, advantage=found)


def left_out(record: Record, batch: Batch, group: np.ndarray, count: np.ndarray, level: str) -> torch.Tensor:
    """[N] from the distance to the mean of n numbers to that to the mean of the others: n / (n - 1)."""
    total = np.full(len(group), count.sum())
    if level == "group":
        total = np.array([count[group == name].sum() for name in group])
    if (total == 1).any():
        record.facts.add("left out of itself")
    rate = torch.as_tensor(total / np.maximum(total - 1, 1))
    return ragged.spread(rate, batch.offset, batch.num_tokens)


ADAPTERS = {
    "areal.util.normalization": areal_rewards,
    "gpg_official.advantage_and_loss": gpg_authors,
    "nemo_rl.advantage.grpo": nemo_grpo,
    "oat.advantage.monte_carlo": oat,
    "openrlhf.advantage.dr_grpo": openrlhf,
    "openrlhf.advantage.group_norm": openrlhf,
    "openrlhf.advantage.reinforce_baseline": openrlhf,
    "openrlhf.advantage.rloo": openrlhf,
    "orz.advantage.grpo_reward_norm": orz,
    "prime_rl.advantage.grpo": prime_grpo,
    "prime_rl.advantage.maxrl": maxrl,
    "skyrl.advantage.grpo": grpo,
    "skyrl.advantage.maxrl": maxrl,
    "skyrl.advantage.rloo": lambda record: credit(record, RLOO()),
    "spo.advantage.group": spo,
    "trl.advantage.grpo": trl_grpo,
    "trl.advantage.rloo": trl_rloo,
    "verl.advantage.gpg": gpg_verl,
    "verl.advantage.grpo": grpo,
    "verl.advantage.grpo_passk": grpo_passk,
    "verl.advantage.grpo_vectorized": grpo,
    "verl.advantage.opo": lambda record: credit(record, OPO()),
    "verl.advantage.rloo": lambda record: credit(record, RLOO()),
    "verl.advantage.rloo_vectorized": lambda record: credit(record, RLOO()),
}
