"""Sources that are small enough to be followed by hand."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from menon.loop import Run
from menon.rollout.protocols import Prompts
from menon.source.protocols import Gathered, Source
from menon.types import Example, Prompt, StepReport
from tiny_run import online


def examples(count: int) -> list[tuple[Example]]:
    """Row i is one example, which says 5, then 10 + i twice; the last two tokens are learned."""
    is_action = np.array([False, True, True])
    return [
        (Example(np.array([5, 10 + i, 10 + i], dtype=np.int32), is_action, i, i / 2),) for i in range(count)
    ]


def rows_in(gathered: Gathered) -> list[int]:
    """Which of `examples` a step holds."""
    return (gathered.batch.token[1::3] - 10).tolist()


def report(step: int, gathered: Gathered) -> StepReport:
    return StepReport(step, {}, gathered.graded, {}, gathered.batch.offset.numpy())


class Watched:
    """A source around another one that remembers the calls, and does what it likes before a step."""

    def __init__(self, inner: Source, before: Callable[[int], None] = lambda step: None) -> None:
        self.inner, self.before = inner, before
        self.calls: list[str] = []
        self.reports: list[StepReport] = []
        self.asked = 0

    def next(self) -> Gathered:
        self.asked += 1
        self.before(self.asked)
        self.calls.append("next")
        return self.inner.next()

    def learned(self, report: StepReport) -> None:
        self.calls.append("learned")
        self.reports.append(report)
        self.inner.learned(report)

    def published(self, version: int) -> None:
        self.calls.append(f"published {version}")
        self.inner.published(version)

    def state(self) -> dict[str, Any]:
        return self.inner.state()

    def load(self, state: Mapping[str, Any]) -> None:
        self.inner.load(state)

    def close(self) -> None:
        self.calls.append("close")
        self.inner.close()


class Drawn:
    """Prompts that write down what was taken of them."""

    def __init__(self, inner: Prompts) -> None:
        self.inner = inner
        self.taken: list[tuple[int, int]] = []

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        taken = self.inner.take(count)
        self.taken += [(prompt.index, visit) for prompt, visit in taken]
        return taken

    def state(self) -> dict[str, Any]:
        return self.inner.state()

    def load(self, state: dict[str, Any]) -> None:
        self.inner.load(state)


def sleepy(seed: int) -> Callable[[int], None]:
    """Some steps take long to write, others no time."""
    rng = np.random.default_rng(seed)
    return lambda step: time.sleep(float(rng.choice([0.0, 0.0, 0.05])))


def drawn_by(run: Run) -> Drawn:
    """Puts a note-taker around the prompts of a run."""
    online(run).prompts = prompts = Drawn(online(run).prompts)
    return prompts
