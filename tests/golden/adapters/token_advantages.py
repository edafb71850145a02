"""GAE, return-to-go and REINFORCE++ of verl, SkyRL, OpenRLHF, ORZ, SPO, TRL, slime, NeMo-RL, ReaLHF and
AReaL; ReMax."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from golden.adapters.tools import NO_BOUND, check_advantages, check_returns, run
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
    count = np.float32(record.mask.sum())
    exact = float(count) / (float(count) - 1)
    scale = math.sqrt(exact / float(count / (count - 1)))
    white = rows_of(batch, run(batch, Whiten()).advantage, record.width)
    record.check(name, scale * white + shift * torch.as_tensor(record.mask).double())


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
    """verl and SkyRL whiten with the sample variance."""
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
    clip = settings["reward_clip_range"] or [-math.inf, math.inf]
    zero = np.zeros_like(record.inputs["kl"])
    batch = record.batch(
        outcome=np.clip(record.inputs["rewards"], *clip), value="values", old_logp="kl", ref_logp=zero
    )
    estimator: Any = gae_of(record) if ".gae" in record.function else Reinforce(settings["gamma"])
    raw = run(batch, KLInReward(beta=settings["kl_coef"]), estimator)
    if raw.ret is not None:
        check_returns(record, raw)
    check_advantages(record, run(raw, Whiten("none" if settings["no_std_norm"] else "population")))


def orz(record: Record) -> None:
    """Without a critic its advantage is the return, as if all values were 0."""
    raw = run(with_values(record, reward="token_level_rewards"), gae_of(record))
    check_advantages(record, raw, "advantages_raw")
    check_returns(record, raw)
    if "advantages" in record.outputs:
        check_advantages(record, run(raw, Whiten("population")))


def spo(record: Record) -> None:
    """Its value target is the discounted return-to-go, not advantage + value."""
    settings = record.settings
    batch = with_values(record, reward="token_level_rewards")
    raw = run(batch, gae_of(record))
    if settings["whiten"]:
        whitened(record, raw)
    else:
        check_advantages(
            record, run(raw, Whiten(eps=settings["eps"], centre=False)) if settings["rescale_only"] else raw
        )
    record.check("returns", rows_of(batch, Reinforce(settings["gamma"])(batch).advantage, record.width))


def trl_ppo(record: Record) -> None:
    k1 = record.inputs["old_logprobs"] - record.inputs["ref_logprobs"]
    penalty = estimate(record.settings["kl_estimator"], torch.as_tensor(k1)).numpy()
    batch = with_values(record, outcome="rewards", old_logp=penalty, ref_logp=np.zeros_like(penalty))
    raw = run(batch, KLInReward(beta=record.settings["kl_coef"]), gae_of(record))
    check_returns(record, raw)
    whitened(record, raw)


def nemo_gae(record: Record) -> None:
    settings = record.settings
    part: Any = gae_of(record)
    if (
        settings["lam_value"] is not None
        or settings["lam_policy"] is not None
        or settings["length_adaptive_alpha"]
    ):
        lam, critic = (
            settings[n] if settings[n] is not None else settings["lam"] for n in ("lam_policy", "lam_value")
        )
        part = VAPO(settings["length_adaptive_alpha"], lam, critic, settings["gamma"])
    raw = run(with_values(record, outcome="rewards"), part)
    check_returns(record, raw)
    if settings["normalize"]:
        whitened(record, raw)
    else:
        check_advantages(record, raw)


def realhf(record: Record) -> None:
    raw = run(with_values(record, reward="token_level_rewards"), gae_of(record, bootstrap_truncated=True))
    check_advantages(record, raw, "advantages_raw")
    check_returns(record, raw)
    check_advantages(
        record, run(raw, Whiten("population", eps=record.settings["norm_eps"], eps_on="deviation"))
    )


def areal(record: Record) -> None:
    """Rewards are scaled and clipped first (without a critic all values are 0); any estimator of the KL can
    be the penalty."""
    settings, inputs = record.settings, record.inputs
    bound = settings["reward_clip"]
    outcome = np.clip(inputs["rewards"] * settings["reward_scaling"], -bound, bound)
    k1 = torch.as_tensor(inputs["old_logprobs"] - inputs["ref_logprobs"])
    penalty = estimate(settings["kl_estimator"], k1).numpy()
    finish = ["length" if cut else "stop" for cut in inputs["no_eos"]]
    columns = {"outcome": outcome, "old_logp": penalty, "ref_logp": np.zeros_like(penalty)}
    batch = with_values(
        record, **columns, **({} if "values_with_bootstrap" in inputs else {"finish": finish})
    )
    if batch.value_after is None:
        batch = replace(batch, value_after=torch.zeros_like(batch.reward))
    first: list[Any] = [TruncatedReward(factor=0)] if settings["mask_no_eos_with_zero"] else []
    paid = run(batch, *first, KLInReward(beta=settings["kl_coef"]))
    record.check("token_level_rewards", rows_of(batch, paid.reward, record.width))
    raw = run(paid, gae_of(record, bootstrap_truncated=True))
    check_returns(record, raw)
    check_advantages(record, run(raw, Whiten(eps=1e-5, eps_on="deviation")) if settings["adv_norm"] else raw)


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
    count = np.float32(record.mask.sum())
    exact = float(count) / (float(count) - 1)
    batch = run(record.batch(outcome="rewards"), ReinforcePPBaseline())
    scale = math.sqrt(exact / float(count / (count - 1)))
    record.check("advantages", scale * rows_of(batch, batch.advantage, record.width))


def reinforce_pp_nemo(record: Record) -> None:
    """Every token gets the answer's reward, less its own penalty; then the population variance."""
    settings, inputs = record.settings, record.inputs
    batch = record.batch(outcome="rewards")
    if settings["use_kl_in_reward"]:
        k1 = torch.as_tensor(inputs["old_logprobs"] - inputs["ref_logprobs"])
        penalty = estimate(settings["kl_type"], k1).numpy()
        batch = record.batch(outcome="rewards", old_logp=penalty, ref_logp=np.zeros_like(penalty))
    after: list[Any] = [KLInAdvantage(settings["kl_coef"], "own")] if settings["use_kl_in_reward"] else []
    first = GRPO("none") if settings["minus_baseline"] else Reinforce()
    check_advantages(record, run(batch, first, *after, Whiten("population")))


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
    lone: Any = "none" if record.settings["handle_zero_tail"] else "own"
    part = OptimalToken(lone, None if weights is None else NO_BOUND, record.settings["epsilon"])
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
