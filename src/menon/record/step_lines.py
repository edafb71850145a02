"""The numbers of a run's steps, as the rules of `record.signs` read them: one mapping per step, in order."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from menon.settings import setting

Line = Mapping[str, Any]
Lines = Sequence[Line]
Settings = Mapping[str, Any]

FEW_STEPS = 2
"""Steps over which a number is averaged, so that one step is no trend."""
SOME_STEPS = 4
"""The same for shares of groups, of which a step may have few."""


def known(lines: Lines, name: str) -> list[float] | None:
    """The numbers of a metric, one per line; None where a line has none, or one that is not finite."""
    values = [line.get(name) for line in lines]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    return [float(value) for value in values]  # type: ignore[arg-type]


def latest(lines: Lines, name: str, steps: int = FEW_STEPS) -> float | None:
    """The mean of a metric over the last `steps` lines; None before there are as many, or where one lacks
    it."""
    values = known(lines[-steps:], name)
    return None if values is None or len(values) < steps else sum(values) / steps


def each(lines: Lines, name: str, holds: Callable[[float], bool], steps: int = FEW_STEPS) -> bool:
    """Whether something holds of a metric in each of the last `steps` lines: one step is no trend."""
    values = known(lines[-steps:], name)
    return values is not None and len(values) == steps and all(map(holds, values))


def at_start(lines: Lines, name: str) -> float | None:
    values = known(lines[:1], name)
    return values[0] if values else None


def answers_of(settings: Settings) -> int:
    """Answers of a step."""
    return int((setting(settings, "prompts_per_step") or 1) * (setting(settings, "samples_per_prompt") or 1))


def noise(share: float, count: float) -> float:
    """The standard error of a share; of one near 0 or 1 that of one answer in as many."""
    share = min(max(share, 1 / count), 1 - 1 / count) if count > 1 else 0.5
    return math.sqrt(share * (1 - share) / count)
