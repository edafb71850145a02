"""What must hold of a record, in its settings or its numbers, for a departure to apply."""

from collections.abc import Callable

import numpy as np

from golden.records import Record
from menon.correction.off_policy import LIMIT
from menon.loss.ratio import LARGEST


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
    """One answer of a group has tokens, and a reward on one of them."""
    group, reward = record.inputs["group_index"], record.inputs["token_level_rewards"] * record.mask
    return any(
        record.filled[group == name].sum() == 1 and bool(reward[group == name].any())
        for name in np.unique(group)
    )


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


def far_sampler(record: Record) -> bool:
    """A policy is further from the sampler than a weight may say, on a token or on a whole row."""
    if "rollout_logprobs" not in record.inputs:
        return False
    names = [n for n in ("proximal_logprobs", "old_logprobs", "logprobs") if n in record.inputs]
    gaps = [(record.inputs[name] - record.inputs["rollout_logprobs"]) * record.mask for name in names]
    return any(max(np.abs(gap).max(), np.abs(gap.sum(1)).max()) > LIMIT for gap in gaps)


def far_ratio(record: Record) -> bool:
    """A ratio that is held below exp(20) here, where it multiplies another term."""
    return bool((np.abs(change(record)) > LIMIT).any())


def equal_rewards(record: Record) -> bool:
    """A group of two or more with equal rewards."""
    inputs = record.inputs
    reward = inputs.get("rewards")
    if "token_level_rewards" in inputs:
        reward = inputs["token_level_rewards"].sum(1)
    if reward is None:
        return False
    group = inputs.get("group_index", np.zeros(len(reward)))
    each = [reward[group == name] for name in np.unique(group)]
    return any(len(rewards) > 1 and np.ptp(rewards) < 1e-12 for rewards in each)


def equal_to_credit(record: Record) -> bool:
    """The answers of a group that have tokens have equal rewards."""
    kept = record.filled
    group = record.inputs["group_index"][kept]
    reward = record.inputs["token_level_rewards"].sum(1)[kept]
    return any(np.ptp(reward[group == name]) < 1e-12 for name in np.unique(group))


def little_spread(record: Record) -> bool:
    """A group whose variance is not 0 but below verl's floor."""
    reward, group = record.inputs["token_level_rewards"].sum(1), record.inputs["group_index"]
    variances = [reward[group == name].var() for name in np.unique(group)]
    return any(0 < variance < 1e-6 for variance in variances)


def discounted_over_gaps(record: Record) -> bool:
    """With gamma = lam = 1 a gap is no step of time; of value 0, or not."""
    settings = record.settings
    return gaps(record) and (settings.get("gamma", 1) < 1 or settings.get("lam", 1) < 1)


def length_penalty(record: Record) -> bool:
    """prime-rl takes a part of the group's mean reward off, by an answer's share of the longest one."""
    weights = [record.settings.get(f"num_{n}_weight") for n in ("output_tokens", "input_tokens", "turns")]
    counts = [record.inputs.get(n, np.zeros(1)).any() for n in ("output_tokens", "total_tokens", "turns")]
    return any(weights) and any(counts)


def fact(name: str) -> Callable[[Record], bool]:
    """What the adapter has seen."""
    return lambda record: name in record.facts


def gaps(record: Record) -> bool:
    """An untrained token between trained ones."""
    return any(
        row.any() and 0 in row[: np.flatnonzero(row)[-1]][np.flatnonzero(row)[0] :] for row in record.mask
    )


def empty_row(record: Record) -> bool:
    return not record.filled.all()
