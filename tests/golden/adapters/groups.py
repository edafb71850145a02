"""Group estimators of verl, SkyRL, TRL, NeMo-RL, OpenRLHF, Oat, ORZ, SPO, prime-rl, AReaL and GPG's
authors."""

from dataclasses import replace
from typing import Any

import numpy as np

from golden.adapters.tools import batch_with, check_advantages, compare_loss, run
from golden.records import Record
from menon.advantage import GPG, GRPO, OPO, RLOO, GRPOPassK, KLInAdvantage, MaxRL, ReinforceBaseline, Whiten
from menon.loss import KL, PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.shaping import KLInReward
from menon.update.terms import Term
from rows import batch_of, rows_of

EPS = ("epsilon", "std_eps", "eps")


def eps_of(record: Record) -> float:
    return next(float(record.settings[name]) for name in EPS if name in record.settings)


def credit(record: Record, *parts: Any, **given: Any) -> None:
    outcome = given.pop("outcome", record.inputs.get("rewards"))
    columns = {"outcome": outcome} if outcome is not None else {"reward": "token_level_rewards"}
    check_advantages(record, run(record.batch(**columns, **given), *parts))


def grpo(record: Record) -> None:
    """verl's and SkyRL's names of "with the deviation"."""
    with_std = record.settings.get("norm_by_std", record.settings.get("grpo_norm_by_std"))
    credit(record, GRPO("bessel" if with_std else "none", eps=eps_of(record)))


def grpo_passk(record: Record) -> None:
    credit(record, GRPOPassK("bessel" if record.settings["norm_by_std"] else "none", eps=eps_of(record)))


def maxrl(record: Record) -> None:
    """prime-rl adds no eps; its rows are one group."""
    given = {} if "group_index" in record.inputs else {"group": [0] * len(record.inputs["rewards"])}
    credit(record, MaxRL(eps=record.settings.get("epsilon", 0.0)), **given)


def prime_grpo(record: Record) -> None:
    """The length penalty is a reward of the reward stage, so its record is a departure."""
    credit(record, GRPO("none"), group=[0] * len(record.inputs["rewards"]))


def nemo_grpo(record: Record) -> None:
    """Its leave-one-out without a deviation is RLOO."""
    mode = {"loo_std": "loo", "mean_std": "bessel", "mean": "none", "loo": None}[record.variant]
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
    if settings["reward_clip_range"]:
        batch = clip_credit(batch, *settings["reward_clip_range"])
    batch = run(batch, KLInAdvantage(settings["kl_coef"], "rest", settings["gamma"]))
    record.check("returns", rows_of(batch, batch.advantage, record.width))
    if record.function.endswith("reinforce_baseline"):
        batch = run(batch, Whiten("none" if settings["no_std_norm"] else "population"))
    check_advantages(record, batch)


def clip_credit(batch: Any, low: float, high: float) -> Any:
    return replace(batch, advantage=batch.advantage.clamp(low, high))


def oat(record: Record) -> None:
    credit(record, GRPO("bessel" if record.settings["critic_type"] == "grpo" else "none", eps=eps_of(record)))


def orz(record: Record) -> None:
    batch = run(record.batch(outcome="rewards"), GRPO("none"))
    record.check("rewards", rows_of(batch, batch.advantage)[:, 0])


def spo(record: Record) -> None:
    credit(record, RLOO() if record.variant == "rloo" else GRPO("population", eps=eps_of(record)))


def given_rewards(record: Record) -> dict[str, Any]:
    """A row without any reward is one whose grader failed; the weighted sum of reward functions is the reward
    stage's work."""
    rewards = np.asarray(record.inputs["rewards_per_func"], dtype=np.float64)
    weights = record.inputs.get("reward_weights", np.ones(rewards.shape[1]))
    return {"outcome": np.nansum(rewards * weights, axis=1), "valid": ~np.isnan(rewards).all(1)}


def trl_grpo(record: Record) -> None:
    mode = {"none": "none", "batch": "batch", "group": "bessel"}[str(record.settings["scale_rewards"])]
    part = GRPO(mode, eps=record.settings["std_eps"])  # type: ignore[arg-type]
    if record.settings["multi_objective_aggregation"] == "sum_then_normalize":
        credit(record, part, **given_rewards(record))
        return
    each = np.asarray(record.inputs["rewards_per_func"], dtype=np.float64)
    found = [
        run(record.batch(outcome=column, valid=~np.isnan(column)), part).advantage
        for column in np.nan_to_num(each).T
    ]
    total = sum(
        weight * column for weight, column in zip(record.inputs["reward_weights"], found, strict=True)
    )
    summed = record.batch(advantage=rows_of(record.batch(), total, record.width))
    check_advantages(
        record, run(summed, Whiten(eps=record.settings["std_eps"], eps_on="deviation", scope="sequence"))
    )


def trl_rloo(record: Record) -> None:
    """The penalty is part of the rewards that are compared."""
    settings, given = record.settings, given_rewards(record)
    if settings["reward_clip_range"]:
        given["outcome"] = np.clip(given["outcome"], *settings["reward_clip_range"])
    if settings["beta"]:
        given |= {"old_logp": "old_logprobs", "ref_logp": "ref_logprobs"}
    parts: list[Any] = [KLInReward(settings["beta"])] if settings["beta"] else []
    after = (
        [Whiten(eps=settings["norm_eps"], eps_on="deviation", scope="sequence")]
        if settings["normalize_advantages"]
        else []
    )
    credit(record, *parts, RLOO(), *after, **given)


def gpg_verl(record: Record) -> None:
    credit(record, GPG())


def gpg_authors(record: Record) -> None:
    """They divide the loss by the share of groups that teach, and the recorded advantages come before
    that."""
    settings = record.settings
    plain = GRPO("bessel" if settings["scale_rewards"] else "none", eps=settings["std_eps"])
    one_token = batch_of(
        np.ones((len(record.mask), 1)), outcome=record.inputs["rewards"], group=record.inputs["group_index"]
    )
    check_advantages(record, run(one_token, plain))  # theirs has one number per row, for empty rows too
    batch = run(batch_with(record, outcome="rewards"), plain)
    if settings["adjust_gd"]:
        batch = run(batch, GPG(plain.std_mode, eps=settings["std_eps"]))  # type: ignore[arg-type]
    terms = [(1.0, Term(PolicyGradient(), TokenMean()))]
    if settings["beta"]:
        scale = 1 / float(record.outputs["inverse_alpha"]) if settings["adjust_gd"] else 1.0
        terms.append((scale, Term(KL("k3"), TokenMean(), coef=settings["beta"])))
    compare_loss(record, *terms, batch=batch)


def areal_rewards(record: Record) -> None:
    """Group means and deviations are GRPO's, with others' means RLOO's; over the batch it whitens answers of
    one token."""
    settings, x = record.settings, record.inputs["x"]
    if x.ndim == 2:
        areal_tokens(record)
        return
    mode: Any = (
        "none" if settings["std_level"] is None else ("bessel" if settings["std_unbiased"] else "population")
    )
    group = (
        record.inputs.get("group_index", np.zeros(len(x)))
        if settings["mean_level"] == "group"
        else np.zeros(len(x))
    )
    batch = batch_of(np.ones((len(x), 1)), outcome=x, group=group, dtype=record.dtype)
    if settings["mean_level"] == "batch":
        parts: list[Any] = [ReinforceBaseline(), Whiten(mode, eps=settings["eps"], eps_on="deviation")]
    else:
        parts = [RLOO() if settings["mean_leave1out"] else GRPO(mode, eps=settings["eps"])]
    batch = run(batch, *parts)
    record.check("normalized", rows_of(batch, batch.advantage)[:, 0])


def areal_tokens(record: Record) -> None:
    """Over all tokens of the batch, or of each group apart."""
    settings = record.settings
    mode: Any = (
        "none" if settings["std_level"] is None else ("bessel" if settings["std_unbiased"] else "population")
    )
    part = Whiten(mode, eps=settings["eps"], eps_on="deviation")
    size = settings["group_size"] if settings["mean_level"] == "group" else len(record.mask)
    found = []
    for start in range(0, len(record.mask), size):
        batch = run(
            batch_of(record.mask[start : start + size], advantage=record.inputs["x"][start : start + size]),
            part,
        )
        found.append(rows_of(batch, batch.advantage, record.width))
    record.check("normalized", np.concatenate(found))


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
