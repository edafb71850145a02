"""GAE, return-to-go, whitening and KL in the reward against verl, SkyRL, OpenRLHF, ORZ, SPO, TRL, slime, NeMo-RL, ReaLHF."""

import math

import numpy as np
import pytest
import torch

from golden.records import Record, records
from menon.advantage import GAE, KLInReward, Reinforce, Whiten
from menon.batch import Batch
from rows import rows_of


def run(batch: Batch, *parts) -> Batch:
    for part in parts:
        batch = part(batch, part.init())[0] if hasattr(part, "init") else part(batch)
    return batch


def check(record: Record, batch: Batch, name: str = "advantages", scale: float = 1.0) -> None:
    record.check(name, scale * rows_of(batch, batch.advantage, record.width))


def check_returns(record: Record, batch: Batch) -> None:
    record.check("returns", rows_of(batch, batch.ret, record.width))


def whitened(record: Record, batch: Batch, name: str = "advantages", shift: float = 0.0) -> None:
    """The peers' count / (count - 1) is a quotient of single-precision numbers; ours is rescaled by that rounding (6e-8)."""
    count = np.float32(record.mask.sum())
    exact = float(count) / (float(count) - 1)
    scale = math.sqrt(exact / float(count / (count - 1)))
    white = rows_of(batch, Whiten()(batch).advantage, record.width)
    record.check(name, scale * white + shift * torch.as_tensor(record.mask).double())


def to_population(record: Record) -> float:
    """Factor from whitening with the sample variance to the population variance."""
    count = float(record.mask.sum())
    return math.sqrt(count / (count - 1))


def gae_of(record: Record) -> GAE:
    return GAE(gamma=record.settings["gamma"], lam=record.settings["lam"])


@pytest.mark.parametrize("record", records("verl.advantage.gae") + records("skyrl.advantage.gae"))
def test_whitened_gae(record):
    raw = run(record.batch(reward="token_level_rewards", value="values"), gae_of(record))
    if "advantages_raw" in record.outputs:
        check(record, raw, "advantages_raw")
    check_returns(record, raw)
    whitened(record, raw)


@pytest.mark.parametrize("record", records("openrlhf.advantage.gae") + records("openrlhf.advantage.reinforce"))
def test_openrlhf(record):
    """Its `kl` column is k1: old minus reference. Rewards are clipped before anything else; whitening is rescaled."""
    clip = record.settings["reward_clip_range"] or [-math.inf, math.inf]
    outcome = np.clip(record.inputs["rewards"], *clip)
    zero = np.zeros_like(record.inputs["kl"])
    batch = record.batch(outcome=outcome, value="values", old_logp="kl", ref_logp=zero)
    estimator = gae_of(record) if ".gae." in record.id else Reinforce(record.settings["gamma"])
    raw = run(batch, KLInReward(beta=record.settings["kl_coef"]), estimator)
    if raw.ret is not None:
        check_returns(record, raw)
    if record.settings["no_std_norm"]:
        record.check("advantages", rows_of(raw, raw.advantage - raw.advantage[raw.trained].mean(), record.width))
    else:
        check(record, Whiten()(raw), scale=to_population(record))


@pytest.mark.parametrize("record", records("orz.advantage.gae"))
def test_orz(record):
    """Without a critic its advantage is the return, as if all values were 0."""
    value = record.inputs.get("values", np.zeros_like(record.inputs["token_level_rewards"]))
    raw = run(record.batch(reward="token_level_rewards", value=value), gae_of(record))
    check(record, raw, "advantages_raw")
    check_returns(record, raw)
    if "advantages" in record.outputs:
        check(record, Whiten()(raw), scale=to_population(record))


@pytest.mark.parametrize("record", records("slime.advantage.gae"))
def test_slime(record):
    batch = run(record.batch(reward="token_level_rewards", value="values"), gae_of(record))
    check(record, batch)
    check_returns(record, batch)


@pytest.mark.parametrize("record", records("spo.advantage.gae", n003="scales by the deviation without centring"))
def test_spo(record):
    """Its value target is the discounted return-to-go, not advantage + value."""
    batch = record.batch(reward="token_level_rewards", value="values")
    whitened(record, run(batch, gae_of(record)))
    record.check("returns", rows_of(batch, Reinforce(record.settings["gamma"])(batch).advantage, record.width))


PLACE = "pays the score one step after the last token; k3 in the reward"


@pytest.mark.parametrize("record", records("trl.advantage.ppo_gae", n003=PLACE))
def test_trl(record):
    batch = record.batch(outcome="rewards", value="values", old_logp="old_logprobs", ref_logp="ref_logprobs")
    raw = run(batch, KLInReward(beta=record.settings["kl_coef"]), gae_of(record))
    check_returns(record, raw)
    whitened(record, raw)


@pytest.mark.parametrize("record", records("nemo_rl.advantage.gae", decoupled="VAPO", length_adaptive="VAPO"))
def test_nemo_rl(record):
    batch = run(record.batch(outcome="rewards", value="values"), gae_of(record))
    check(record, batch)
    check_returns(record, batch)


@pytest.mark.parametrize("record", records("realhf.advantage.gae", bootstrap="here a truncated answer counts as ended"))
def test_realhf(record):
    """Raw only: its normalisation adds 1e-5 to the population deviation."""
    value = record.inputs["values_with_bootstrap"][:, :-1]
    batch = run(record.batch(reward="token_level_rewards", value=value), gae_of(record))
    check(record, batch, "advantages_raw")
    check_returns(record, batch)


@pytest.mark.parametrize("record", records("verl.reward.kl_in_reward"))
def test_kl_in_reward_verl(record):
    batch = record.batch(reward="token_level_rewards", old_logp="old_logprobs", ref_logp="ref_logprobs")
    batch = run(batch, KLInReward(beta=record.settings["kl_coef"]))
    record.check("token_level_rewards", rows_of(batch, batch.reward, record.width))


@pytest.mark.parametrize("record", records("openrlhf.reward.kl_in_reward"))
def test_kl_in_reward_openrlhf(record):
    batch = record.batch(outcome="rewards", old_logp="kl", ref_logp=np.zeros_like(record.inputs["kl"]))
    batch = run(batch, KLInReward(beta=record.settings["kl_coef"]))
    record.check("token_level_rewards", rows_of(batch, batch.reward, record.width))


@pytest.mark.parametrize("record", records("realhf.reward.kl_in_reward"))
def test_kl_in_reward_realhf(record):
    """The score is clipped, and 0 where the answer did not end: the reward stage's work."""
    bound = record.settings["clip_reward_value"]
    outcome = np.where(record.inputs["no_eos"], 0, np.clip(record.inputs["rewards"], -bound, bound))
    batch = record.batch(outcome=outcome, old_logp="old_logprobs", ref_logp="ref_logprobs")
    batch = run(batch, KLInReward(beta=record.settings["kl_coef"]))
    record.check("token_level_rewards", rows_of(batch, batch.reward, record.width))


@pytest.mark.parametrize("record", records("verl.kl_controller.adaptive"))
def test_controller(record):
    part = KLInReward(record.settings["init_kl_coef"], record.settings["target_kl"], record.settings["horizon"])
    beta, found = part.beta, []
    for measured, count in zip(record.inputs["observed_kl"], record.inputs["n_steps"], strict=True):
        beta = part.steer(beta, float(measured), int(count))
        found.append(beta)
    record.check("coef_after_each_update", np.array(found))


@pytest.mark.parametrize("record", records("verl.util.masked_statistics"))
def test_whitening(record):
    """Without `shift_mean` the mean is added again."""
    mean = 0.0 if record.settings["shift_mean"] else float(record.outputs["mean"])
    whitened(record, record.batch(advantage="x"), "whitened", mean)
