"""Where a peer's numbers are not ours on purpose: which function, under what condition, why, and by how much
they must differ."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np

from golden.records import Record
from menon.loss.ratio import LARGEST


def always(record: Record) -> bool:
    return True


@dataclass(frozen=True)
class Departure:
    function: str
    """A pattern."""
    reason: str
    low: float
    """Least size of the largest difference of a record; 0 where it depends on the numbers whether one can be
    seen."""
    high: float
    when: Callable[[Record], bool] = always
    variant: str = "*"

    def holds(self, record: Record) -> bool:
        return (
            fnmatch(record.function, self.function)
            and fnmatch(record.variant, self.variant)
            and self.when(record)
        )


def departure_of(record: Record) -> Departure | None:
    return next((departure for departure in DEPARTURES if departure.holds(record)), None)


# Conditions


def gpg_factors_differ(record: Record) -> bool:
    reward, group = record.inputs["rewards"], record.inputs["group_index"]
    teaches = [len(set(reward[group == name])) > 1 for name in group]
    return int(np.count_nonzero(reward)) != sum(teaches) and any(teaches)


def group_of_one(record: Record) -> bool:
    """One that has a reward and a token."""
    group = record.inputs.get("group_index")
    if group is None or "rewards" not in record.inputs:
        return False
    alone = np.isin(
        group, [name for name, count in zip(*np.unique(group, return_counts=True), strict=True) if count == 1]
    )
    return bool((alone & record.filled & (np.abs(record.inputs["rewards"]) > 1e-3)).any())


def paid_alone(record: Record) -> bool:
    """A group of one whose rewards are given by token."""
    group, reward = record.inputs["group_index"], record.inputs["token_level_rewards"]
    return any(int((group == name).sum()) == 1 and bool(reward[group == name].any()) for name in group)


def change(record: Record) -> np.ndarray:
    """Log-ratios of trained tokens."""
    old = next(
        (
            record.inputs[n]
            for n in ("old_logprobs", "proximal_logprobs", "rollout_logprobs")
            if n in record.inputs
        ),
        None,
    )
    if old is None or "logprobs" not in record.inputs:
        return np.zeros(0)
    return (record.inputs["logprobs"] - old)[record.mask.astype(bool)]


def far(record: Record) -> bool:
    return bool((np.abs(change(record)) > LARGEST).any())


def gaps(record: Record) -> bool:
    """An untrained token between trained ones."""
    return any(
        row.any() and 0 in row[: np.flatnonzero(row)[-1]][np.flatnonzero(row)[0] :] for row in record.mask
    )


def empty_row(record: Record) -> bool:
    return not record.filled.all()


ONE = "a group of one keeps its reward as advantage; here it has nothing to be compared with and gets 0"
FAR = f"log-ratios are not clamped at all; here at {LARGEST:g}, above which they overflow in single precision"
UNCLAMPED = (
    "areal.loss.*",
    "entropy_mechanism.loss.*",
    "nemo_rl.loss.clipped_pg",
    "orz.loss.policy",
    "prime_rl.loss.*",
)
UNCLAMPED += ("realhf.loss.policy", "slime.loss.*", "trl.loss.*", "verl.loss.*_cov")
HUGE = float("inf")

DEPARTURES: tuple[Departure, ...] = (
    *(
        Departure(function, ONE, 1e-3, 10, group_of_one)
        for function in (
            "skyrl.advantage.grpo",
            "skyrl.advantage.maxrl",
            "spo.advantage.group",
            "verl.advantage.grpo",
            "verl.advantage.opo",
            "verl.advantage.reinforce_plus_plus_baseline",
            "verl.advantage.rloo",
        )
    ),
    Departure("verl.advantage.*optimal_token_baseline", ONE, 1e-3, 10, paid_alone),
    Departure(
        "verl.advantage.gpg",
        "the factor counts rewards that are not zero; the paper and its code count answers of groups with "
        "spread",
        1e-3,
        50,
        lambda record: group_of_one(record) or gpg_factors_differ(record),
    ),
    Departure(
        "verl.advantage.grpo_vectorized",
        "single precision leaves a rest where rewards are equal; here it is exactly 0",
        0,
        1e-3,
    ),
    Departure(
        "prime_rl.advantage.grpo",
        "a reward that depends on the group's longest answer",
        1e-6,
        2,
        lambda record: abs(float(record.inputs["rewards"].mean())) > 1e-3,
        variant="length_penalty",
    ),
    Departure(
        "trl.advantage.rloo",
        "an empty answer counts where advantages are normalised; here it has no token to credit and does not",
        1e-4,
        5,
        empty_row,
        variant="normalized",
    ),
    Departure(
        "trl.advantage.ppo_gae",
        "the score is paid one step after the last token, past the value there",
        1e-4,
        5,
        lambda record: (
            record.settings["lam"] < 1 and bool((record.inputs["row_lengths"] < record.width).any())
        ),
    ),
    Departure(
        "slime.advantage.reinforce_plus_plus_returns",
        "tokens of an environment count as steps of time",
        1e-6,
        5,
        lambda record: gaps(record) and record.settings["gamma"] < 1,
    ),
    Departure("spo.util.masked_whiten_prob", "Bessel's factor is rounded to single precision", 0, 1e-6),
    Departure(
        "orz.advantage.normalize_padded",
        "the mean is taken over padding too and the result rounded to bfloat16",
        1e-3,
        2,
    ),
    Departure(
        "entropy_mechanism.loss.kl_cov",
        "the percentage is capped at the number of tokens",
        1e-4,
        10,
        lambda record: record.settings["k_percent"] > record.mask.sum(),
    ),
    Departure("skyrl.loss.kl_cov", "the KL term is a sum while the policy term is a mean", 1e-4, HUGE),
    Departure(
        "skyrl.loss.clip_cov",
        "the covariance is of advantages that are divided by the normaliser already, so its bounds mean "
        "something else",
        0,
        10,
    ),
    Departure(
        "skyrl.loss.ppo",
        "a mean of the means of micro-batches",
        1e-6,
        1,
        variant="reduction:token_mean_legacy",
    ),
    Departure(
        "areal.loss.sapo", "the gate is put on the ratio of a whole answer", 1e-4, 10, variant="sequence"
    ),
    Departure(
        "trl.loss.gmpo",
        "selects tokens of a loss that has one number per answer",
        1e-4,
        10,
        lambda record: record.settings["top_entropy_quantile"] < 1,
    ),
    Departure(
        "trl.loss.rloo",
        "an empty answer counts with its advantage, which has no gradient",
        1e-6,
        10,
        empty_row,
    ),
    Departure(
        "nemo_rl.loss.clipped_pg",
        "adds 1e-8 to the number of tokens of each row",
        0,
        1e-7,
        lambda record: not far(record),
    ),
    *(Departure(function, FAR, 0, HUGE, far) for function in UNCLAMPED),
)
