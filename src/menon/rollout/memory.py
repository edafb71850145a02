"""Collectors with a state of their own, as a replay buffer has."""

from collections.abc import Mapping
from typing import Any

from menon.rollout.protocols import Collect, Grade, Prompts, Sampler
from menon.types import Graded, Metric

ROLLOUT = "/rollout"
"""Under which name the state of the collector stands beside those of the advantage parts; no part can be
called so."""


def collected(
    collect: Collect, prompts: Prompts, sampler: Sampler, grade: Grade, memory: Mapping[str, Any]
) -> tuple[list[Graded], dict[str, Metric], dict[str, Any]]:
    """A step's text, and the memory with the collector's next state, if it has one."""
    if ROLLOUT not in memory:
        graded, gathered = collect(prompts, sampler, grade)
        return graded, gathered, dict(memory)
    graded, gathered, state = collect(prompts, sampler, grade, memory[ROLLOUT])
    return graded, gathered, {**memory, ROLLOUT: state}
