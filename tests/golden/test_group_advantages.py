"""Group estimators against verl, SkyRL, TRL, NeMo-RL, OpenRLHF, Oat, ORZ, SPO and prime-rl. Names and settings are mapped; no
formula stands here."""

import numpy as np
import pytest
import torch

from golden.records import Record, records
from menon.advantage import GRPO, RLOO, KLInReward
from rows import rows_of

ONE = "a group of one: the peer keeps A = R, here it is 0"
RETURN = "the peer adds a return-to-go of KL penalties to the group's advantage; here KL enters the reward before the estimator"


def check(record: Record, part: GRPO | RLOO, outcome="rewards", **given) -> None:
    batch = part(record.batch(outcome=outcome, **given))
    advantage = rows_of(batch, batch.advantage, record.width)
    record.check("advantages", advantage if record.outputs["advantages"].ndim == 2 else advantage[:, 0])


ROUNDED = "single precision leaves 1.3e-5 where rewards are equal; here it is exactly 0"


@pytest.mark.parametrize("record", records("verl.advantage.grpo") + records("verl.advantage.grpo_vectorized", n003=ROUNDED))
def test_verl(record):
    mode = "bessel" if record.settings["norm_by_std"] else "none"
    check(record, GRPO(mode, eps=record.settings["epsilon"]))


@pytest.mark.parametrize("record", records("skyrl.advantage.grpo", n003=ONE, n007=ONE))
def test_skyrl(record):
    mode = "bessel" if record.settings["grpo_norm_by_std"] else "none"
    check(record, GRPO(mode, eps=record.settings["epsilon"]))


@pytest.mark.parametrize(
    "record",
    records(
        "trl.advantage.grpo",
        batch="divides by the deviation of the whole batch, which no part does",
        normalize_then_sum="normalises each reward function apart, which no part does",
    ),
)
def test_trl(record):
    """A row without any reward is one whose grader failed; the weighted sum of reward functions is the reward stage's work."""
    rewards = np.asarray(record.inputs["rewards_per_func"], dtype=np.float64)
    outcome = np.nansum(rewards * record.inputs["reward_weights"], axis=1)
    mode = "none" if record.settings["scale_rewards"] == "none" else "bessel"
    part = GRPO(mode, eps=record.settings["std_eps"])
    check(record, part, outcome, valid=~np.isnan(rewards).all(1))


@pytest.mark.parametrize("record", records("nemo_rl.advantage.grpo"))
def test_nemo_rl(record):
    """Its leave-one-out without a deviation is RLOO."""
    mode = {"loo_std": "loo", "mean_std": "bessel", "mean": "none", "loo": None}[record.variant]
    check(record, GRPO(mode, eps=record.settings["std_eps"]) if mode else RLOO())


@pytest.mark.parametrize(
    ("mode", "record"),
    [
        pytest.param(mode, *case.values, id=case.id, marks=case.marks)
        for mode, function, left_out in [
            ("bessel", "openrlhf.advantage.group_norm", {"n005": RETURN}),
            ("none", "openrlhf.advantage.dr_grpo", {"n002": RETURN, "n004": RETURN}),
        ]
        for case in records(function, **left_out)
    ],
)
def test_openrlhf(mode, record):
    check(record, GRPO(mode, eps=1e-9))


@pytest.mark.parametrize("record", records("oat.advantage.monte_carlo"))
def test_oat(record):
    mode = "bessel" if record.settings["critic_type"] == "grpo" else "none"
    check(record, GRPO(mode, eps=record.settings["std_eps"]))


@pytest.mark.parametrize("record", records("orz.advantage.grpo_reward_norm"))
def test_orz(record):
    batch = GRPO("none")(record.batch(outcome="rewards"))
    record.check("rewards", rows_of(batch, batch.advantage)[:, 0])


@pytest.mark.parametrize("record", records("spo.advantage.group"))
def test_spo(record):
    check(record, RLOO() if record.variant == "rloo" else GRPO("population", eps=record.settings["std_eps"]))


@pytest.mark.parametrize("record", records("prime_rl.advantage.grpo", length_penalty="a reward that depends on lengths"))
def test_prime_rl(record):
    check(record, GRPO("none"), group=torch.zeros(len(record.mask)))


@pytest.mark.parametrize(
    "record",
    records("verl.advantage.rloo", n006=ONE)
    + records("verl.advantage.rloo_vectorized")
    + records("skyrl.advantage.rloo")
    + records("openrlhf.advantage.rloo", n004=RETURN),
)
def test_rloo(record):
    check(record, RLOO())


@pytest.mark.parametrize(
    "record", records("trl.advantage.rloo", normalized="divides by the deviation of the whole batch, which no part does")
)
def test_rloo_trl(record):
    """With a penalty the rewards are the outcomes after KLInReward: its part is applied first."""
    rewards = np.asarray(record.inputs["rewards_per_func"], dtype=np.float64)
    valid, outcome = ~np.isnan(rewards).all(1), np.nansum(rewards, axis=1)
    columns = {"old_logp": "old_logprobs", "ref_logp": "ref_logprobs"} if record.settings["beta"] else {}
    batch = record.batch(outcome=outcome, valid=valid, **columns)
    if columns:
        part = KLInReward(record.settings["beta"])
        batch, _ = part(batch, part.init())
    record.check("advantages", rows_of(batch, RLOO()(batch).advantage)[:, 0])
