"""GAE, return-to-go and REINFORCE++ of verl, SkyRL, OpenRLHF, ORZ, SPO, TRL, slime, NeMo-RL, ReaLHF and
AReaL; ReMax."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from golden.adapters.tools import (
    LARGEST,
    NO_BOUND,
    check_advantages,
    check_returns,
    floored,
    mode_of,
    run,
)
from golden.records import Record
from menon import ragged
from menon.advantage import (
    GAE,
    GRPO,
    VAPO,
    KLInAdvantage,
    OptimalToken,
    Reinforce,
    ReinforcePP,
    ReinforcePPBaseline,
    ReMax,
    Whiten,
)
from menon.batch import Batch
from menon.loss.kl import estimate
from menon.shaping import KLInReward, TruncatedReward
from rows import rows_of


def whitened(record: Record, batch: Batch, name: str = "advantages", shift: float = 0.0) -> None:
    """The peers' count / (count - 1) is a quotient of single-precision numbers; ours is rescaled by that
    rounding (6e-8)."""
    settings = record.settings
    ddof = settings.get("whiten_ddof", settings.get("ddof", 1))
    part = Whiten(mode_of(ddof), eps=settings.get("whiten_eps", settings.get("eps", 1e-8)))
    scale = bessel_in_single(record) if ddof else 1.0
    white = rows_of(batch, run(batch, part).advantage, record.width)
    record.check(name, scale * white + shift * torch.as_tensor(record.mask).double())


def bessel_in_single(record: Record) -> float:
    count = np.float32(record.mask.sum())
    if count < 2:
        return 1.0
    exact = float(count) / (float(count) - 1)
    return math.sqrt(exact / float(count / (count - 1)))


def gae_of(record: Record, **given: Any) -> GAE:
    return GAE(gamma=record.settings["gamma"], lam=record.settings["lam"], **given)


def with_values(record: Record, **columns: Any) -> Batch:
    """With the value behind each row's end, where the record has it; rows without an end token are the
    truncated ones."""
    inputs = record.inputs
    if "values_with_bootstrap" not in inputs:
        return record.batch(value=inputs.get("values", np.zeros(record.mask.shape)), **columns)
    values = inputs["values_with_bootstrap"]
    finish = ["length" if cut else "stop" for cut in inputs["no_eos"]]
    return record.batch(value=values[:, :-1], value_after=values[:, 1:], finish=finish, **columns)


def gae(record: Record) -> None:
    """verl and SkyRL whiten with the sample variance. verl puts no step on tokens between turns, SkyRL
    does."""
    raw = run(with_values(record, reward="token_level_rewards"), gae_of(record))
    if "advantages_raw" in record.outputs:
        check_advantages(record, raw, "advantages_raw")
    check_returns(record, raw)
    whitened(record, raw)


def slime_gae(record: Record) -> None:
    raw = run(with_values(record, reward="token_level_rewards"), gae_of(record))
    check_advantages(record, raw)
    check_returns(record, raw)


def openrlhf(record: Record) -> None:
    """Its `kl` column is k1: old minus reference. Rewards are clipped before anything else."""
    settings = record.settings
    clip = settings.get("reward_clip_range") or [-math.inf, math.inf]
    columns = {"old_logp": "kl", "ref_logp": np.zeros_like(record.inputs["kl"])}
    batch = record.batch(outcome=np.clip(record.inputs["rewards"], *clip), value="values", **columns)
    with_critic = ".gae" in record.function
    estimator: Any = gae_of(record) if with_critic else Reinforce(settings["gamma"])
    raw = run(batch, KLInReward(beta=max(settings["kl_coef"], 0.0)), estimator)
    if with_critic:
        check_returns(record, raw)
    else:
        record.check("returns", rows_of(raw, raw.advantage, record.width))
    check_advantages(record, run(raw, centred_or_white(record, raw)))


def centred_or_white(record: Record, batch: Batch) -> Whiten:
    """OpenRLHF floors the variance."""
    plain = record.settings.get("no_std_norm", False)
    return Whiten("none") if plain else floored(record, batch, 1e-8)


def orz(record: Record) -> None:
    """Without a critic its advantage is the return, as if all values were 0."""
    batch = with_values(record, reward="token_level_rewards")
    if not record.settings.get("critic", True):
        assert batch.value is not None
        batch = replace(batch, value=torch.zeros_like(batch.value))
    raw = run(batch, gae_of(record))
    check_advantages(record, raw, "advantages_raw")
    check_returns(record, raw)
    if "advantages" in record.outputs:
        check_advantages(record, run(raw, floored(record, raw, 1e-8)))


def spo(record: Record) -> None:
    """Its value target is the discounted return-to-go, not advantage + value."""
    settings = record.settings
    batch = with_values(record, reward="token_level_rewards")
    raw = run(batch, gae_of(record))
    if settings.get("whiten", False):
        whitened(record, raw)
    elif settings.get("rescale_only", False):
        mode = mode_of(settings.get("ddof", 1))
        check_advantages(record, run(raw, Whiten(mode, eps=settings.get("eps", 1e-8), centre=False)))
    else:
        check_advantages(record, raw)
    record.check("returns", rows_of(batch, Reinforce(settings["gamma"])(batch).advantage, record.width))


def trl_ppo(record: Record) -> None:
    if record.settings.get("whiten_rewards", False):
        record.facts.add("rewards that are whitened")
    penalty = penalty_of(record, record.settings.get("kl_estimator", "k1"), LARGEST, NO_BOUND)
    batch = with_values(record, outcome="rewards", **penalty)
    raw = run(batch, KLInReward(beta=record.settings["kl_coef"]), gae_of(record))
    check_returns(record, raw)
    whitened(record, raw)


def penalty_of(record: Record, kind: Any, limit: float, most: float | None) -> dict[str, np.ndarray]:
    """Columns between which the KL is the estimate, whatever the estimator."""
    k1 = torch.as_tensor(record.inputs["old_logprobs"] - record.inputs["ref_logprobs"])
    found = estimate(kind, k1, limit, most).numpy()
    return {"old_logp": found, "ref_logp": np.zeros_like(found)}


def nemo_gae(record: Record) -> None:
    """A KL in the reward is clamped as the one in the loss."""
    settings = record.settings
    columns: dict[str, Any] = {}
    paid: list[Any] = []
    if settings.get("use_kl_in_reward", False) and "ref_logprobs" in record.inputs:
        columns = penalty_of(record, settings.get("kl_type", "k3"), 20.0, 10.0)
        paid = [KLInReward(beta=settings["kl_coef"])]
    part: Any = gae_of(record)
    policy, critic = settings.get("lam_policy"), settings.get("lam_value")
    alpha = settings.get("length_adaptive_alpha", 0.0)
    if critic is not None or policy is not None or alpha:
        policy, critic = (settings["lam"] if lam is None else lam for lam in (policy, critic))
        part = VAPO(alpha, policy, critic, settings["gamma"])
    raw = run(with_values(record, outcome="rewards", **columns), *paid, part)
    check_returns(record, raw)
    if settings.get("normalize", False):
        whitened(record, raw)
    else:
        check_advantages(record, raw)


def realhf(record: Record) -> None:
    raw = run(with_values(record, reward="token_level_rewards"), gae_of(record, bootstrap_truncated=True))
    check_advantages(record, raw, "advantages_raw")
    check_returns(record, raw)
    settings = record.settings
    mode = mode_of(settings.get("norm_ddof", 0))
    white = Whiten(mode, eps=settings.get("norm_eps", 1e-5), eps_on="deviation")
    check_advantages(record, run(raw, white))


def areal(record: Record) -> None:
    """Rewards are scaled and clipped first (without a critic all values are 0); any estimator of the KL can
    be the penalty."""
    settings, inputs = record.settings, record.inputs
    bound = settings.get("reward_clip", 20.0)
    shifted = inputs["rewards"] + settings.get("reward_bias", 0.0)
    outcome = np.clip(shifted * settings.get("reward_scaling", 1.0), -bound, bound)
    penalty = penalty_of(record, settings.get("kl_estimator", "k1"), LARGEST, 10.0)
    finish = ["length" if cut else "stop" for cut in inputs["no_eos"]]
    columns = {"outcome": outcome, **penalty}
    batch = with_values(
        record, **columns, **({} if "values_with_bootstrap" in inputs else {"finish": finish})
    )
    if batch.value_after is None:
        batch = replace(batch, value_after=torch.zeros_like(batch.reward))
    first: list[Any] = [TruncatedReward(factor=0)] if settings.get("mask_no_eos_with_zero", False) else []
    paid = run(batch, *first, KLInReward(beta=settings["kl_coef"]))
    record.check("token_level_rewards", rows_of(batch, paid.reward, record.width))
    raw = run(paid, gae_of(record, bootstrap_truncated=True))
    check_returns(record, raw)
    white = settings.get("adv_norm")
    check_advantages(record, run(raw, Whiten(eps=1e-5, eps_on="deviation")) if white else raw)


def reinforce_pp_verl(record: Record) -> None:
    batch = record.batch(reward="token_level_rewards")
    raw = run(batch, Reinforce(record.settings["gamma"]))
    record.check("returns", rows_of(raw, raw.advantage, record.width))
    whitened(record, raw)
    ours = run(batch, ReinforcePP(record.settings["gamma"]))
    assert ours.advantage is not None
    assert torch.equal(
        ours.advantage, run(raw, Whiten()).advantage
    )  # the part by that name is the same chain


def reinforce_pp_baseline_verl(record: Record) -> None:
    """It compares the sums of a row's rewards."""
    batch = record.batch(outcome=record.inputs["token_level_rewards"].sum(1))
    whitened(record, run(batch, GRPO("none")))
    ours = run(batch, ReinforcePPBaseline())
    assert ours.advantage is not None
    assert torch.equal(ours.advantage, run(batch, GRPO("none"), Whiten()).advantage)


def reinforce_pp_nemo(record: Record) -> None:
    """Every token gets the answer's reward, less its own penalty; then the population variance."""
    settings = record.settings
    batch, after = record.batch(outcome="rewards"), []
    if settings.get("use_kl_in_reward", False):
        columns = penalty_of(record, settings.get("kl_type", "k3"), 20.0, 10.0)
        batch = record.batch(outcome="rewards", **columns)
        after = [KLInAdvantage(settings["kl_coef"], "own")]
    first = GRPO("none") if settings.get("minus_baseline", True) else Reinforce()
    raw = run(batch, first, *after)
    check_advantages(record, run(raw, floored(record, raw, 1e-8)))


def reinforce_pp_slime(record: Record) -> None:
    """Given rewards are centred already, so return-to-go puts them on every token."""
    zero = np.zeros_like(record.inputs["kl"])
    batch = record.batch(outcome="centred_rewards", old_logp="kl", ref_logp=zero)
    check_advantages(record, run(batch, Reinforce(), KLInAdvantage(record.settings["kl_coef"], "own")))


def returns_slime(record: Record) -> None:
    settings = record.settings
    batch = record.batch(outcome="rewards", old_logp="kl", ref_logp=np.zeros_like(record.inputs["kl"]))
    batch = run(batch, KLInReward(beta=settings["kl_coef"]), Reinforce(settings["gamma"]))
    record.check("returns", rows_of(batch, batch.advantage, record.width))


def remax(record: Record) -> None:
    batch = record.batch(reward="token_level_rewards")
    check_advantages(
        record, run(replace(batch, baseline=torch.as_tensor(record.inputs["reward_baselines"])), ReMax())
    )


def optimal_token(record: Record) -> None:
    """Its returns reach over the tokens between turns too."""
    columns: dict[str, Any] = {
        "reward": "token_level_rewards",
        "old_logp": "old_logprobs",
        "collision": "sum_pi_squared",
    }
    weights = record.inputs.get("rollout_is_weights")
    if weights is not None:
        columns["behaviour_logp"] = record.inputs["old_logprobs"] - np.log(np.where(record.mask, weights, 1))
    batch = record.batch(**columns)
    turns = ".tir_" in record.function
    lone: Any = "none" if record.settings.get("handle_zero_tail", turns) else "own"
    eps = record.settings.get("epsilon", 1e-8)
    part = OptimalToken(lone, None if weights is None else NO_BOUND, eps)
    check_advantages(record, run(batch, part))
    record.check("returns", rows_of(batch, ragged.return_to_go(batch.reward, batch.offset), record.width))


ADAPTERS = {
    "areal.advantage.gae": areal,
    "nemo_rl.advantage.gae": nemo_gae,
    "nemo_rl.advantage.reinforce_plus_plus": reinforce_pp_nemo,
    "openrlhf.advantage.gae": openrlhf,
    "openrlhf.advantage.reinforce": openrlhf,
    "orz.advantage.gae": orz,
    "realhf.advantage.gae": realhf,
    "skyrl.advantage.gae": gae,
    "slime.advantage.gae": slime_gae,
    "slime.advantage.reinforce_plus_plus_baseline": reinforce_pp_slime,
    "slime.advantage.reinforce_plus_plus_returns": returns_slime,
    "spo.advantage.gae": spo,
    "trl.advantage.ppo_gae": trl_ppo,
    "verl.advantage.gae": gae,
    "verl.advantage.optimal_token_baseline": optimal_token,
    "verl.advantage.reinforce_plus_plus": reinforce_pp_verl,
    "verl.advantage.reinforce_plus_plus_baseline": reinforce_pp_baseline_verl,
    "verl.advantage.remax": remax,
    "verl.advantage.tir_optimal_token_baseline": optimal_token,
}
