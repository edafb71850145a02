"""The metrics of other libraries under the names of `menon.metric_names`, where they mean the same."""

from collections.abc import Iterable

from menon.workbench.peers.peer import Line

SAME = {
    # verl
    "critic/score/mean": "reward/mean",
    "actor/entropy": "entropy/mean",
    "actor/pg_clipfrac": "clip/frac",
    "actor/grad_norm": "grad_norm",
    "actor/lr": "learning_rate",
    "response_length/mean": "len/mean",
    "response_length/max": "len/max",
    "response_length/clip_ratio": "trunc_rate",
    "timing_s/step": "time/step",
    # TRL, whose trackers put train/ in front
    "reward": "reward/mean",
    "reward_std": "reward/std",
    "entropy": "entropy/mean",
    "clip_ratio/region_mean": "clip/frac",
    "completions/mean_length": "len/mean",
    "completions/max_length": "len/max",
    "completions/clipped_ratio": "trunc_rate",
    # slime and Miles
    "rollout/raw_reward": "reward/mean",
    "rollout/response_len/mean": "len/mean",
    "train/grad_norm": "grad_norm",
    "train/entropy_loss": "entropy/mean",
}
"""Other names are kept as they are."""


def by_step(scalars: Iterable[tuple[int, str, float]]) -> list[Line]:
    """Lines of metrics in the order of steps, from (step, name, value); the last value of a name counts."""
    found: dict[int, Line] = {}
    for step, name, value in scalars:
        plain = name.removeprefix("train/")
        known = SAME.get(name) or SAME.get(plain) or plain
        found.setdefault(step, {"step": step})[known] = value
    return [found[step] for step in sorted(found)]
