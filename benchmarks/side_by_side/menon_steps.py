"""Steps of a run of ours, one for each request."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from menon.loop import Run
from menon.record.clock import Clock
from menon.source.protocols import Source
from menon.step import improve
from menon.types import StepReport

OPEN = ExitStack()
"""Runs that last as long as the process, as its measurements do."""


class Steps:
    """One step after another of a run; `seconds()` is what the next one takes."""

    def __init__(self, run: Run, source: Source) -> None:
        self.run, self.source = run, source
        self.state = run.plan.initial_state()
        self.step = 0
        self.report: StepReport | None = None
        """Of the last step."""

    def seconds(self) -> float:
        run, self.step = self.run, self.step + 1
        start, clock = time.perf_counter(), Clock()
        with clock("rollout"):
            gathered = self.source.next()
        report, self.state = improve(self.step, gathered, run.plan, run.host, self.state, clock)
        self.source.learned(report)
        with clock("sync"):
            self.source.published(run.channel.publish(self.step).version)
        self.report = replace(report, metrics={**report.metrics, **clock.times()})
        return time.perf_counter() - start

    @property
    def policy(self) -> Any:
        host: Any = self.run.host
        return host.models["policy"]

    def metric(self, name: str) -> float:
        """Of the last step."""
        assert self.report is not None
        return self.report.metrics[name]


def answering(
    steps_of: Callable[[], Steps], numbers: Callable[[Steps], Mapping[str, float]]
) -> Callable[..., dict[str, Any]]:
    """The function that answers a request by the seconds of a step, and what `numbers` says of it."""

    @cache
    def steps(threads: int) -> Steps:
        return steps_of()

    def answer(threads: int) -> dict[str, Any]:
        # Before a run is built: it decides how many processes and passes work side by side.
        torch.set_num_threads(threads)
        mine = steps(threads)
        return {"seconds": mine.seconds(), **numbers(mine)}

    return answer
