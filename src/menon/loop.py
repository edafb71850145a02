"""Repeat the step; evaluate, save, resume."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from menon.rollout.protocols import Prompts, Sampler
from menon.step import Plan
from menon.sync.protocols import WeightChannel
from menon.types import Graded, StepReport
from menon.update.protocols import Models


@dataclass(frozen=True)
class Run:
    """Everything that a loop drives, built by a recipe; no part of it is a framework's object."""

    plan: Plan
    prompts: Prompts
    sampler: Sampler
    models: Models
    channel: WeightChannel
    evaluate: Callable[[Sampler], list[Graded]]
    """Graded answers to the held-out set at temperature 1."""
    export: Callable[[Path], None]
    """Writes the policy as an ordinary Hugging Face folder."""
    steps: int
    save_every: int = 0
    """Steps between checkpoints; 0: only the last one. Independent of it a stop request saves."""
    evaluate_every: int = 0
    """Steps between evaluations besides the one before and the one after; 0: none."""


class Watcher(Protocol):
    """What a terminal (or a test) sees of a run."""

    def started(self, folder: Path, first_step: int, steps: int) -> None: ...

    def evaluated(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def stepped(self, report: StepReport) -> None: ...

    def told(self, sentence: str) -> None:
        """Something the user should know: a damaged checkpoint was passed over, a stop request was heard."""
        ...

    def finished(self, report: Mapping[str, Any]) -> None: ...
