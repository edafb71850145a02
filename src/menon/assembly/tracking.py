"""Sends a run's numbers to a tracker beside the person who watches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from menon.loop import Watcher
from menon.record.reader import RunView
from menon.record.trackers import Numbers, Tracked
from menon.types import StepReport

HELD_OUT = "heldout/"


class Mirrored:
    """A `Watcher` that passes everything on to another watcher, and also sends the numbers to a tracker."""

    def __init__(self, watch: Watcher, tracked: Tracked, settings: Mapping[str, Any]) -> None:
        self.watch, self.tracked, self.settings = watch, tracked, settings

    def started(self, folder: Path, first_step: int, steps: int) -> None:
        self.watch.started(folder, first_step, steps)
        self.tracked.start(folder, self.settings, recorded(folder))

    def evaluated(self, step: int, numbers: Mapping[str, Any]) -> None:
        self.watch.evaluated(step, numbers)
        self.tracked.write(step, held_out(numbers))

    def stepped(self, report: StepReport) -> None:
        self.watch.stepped(report)
        self.tracked.write(report.step, report.metrics)

    def notify(self, sentence: str) -> None:
        self.watch.notify(sentence)

    def finished(self, report: Mapping[str, Any]) -> None:
        self.watch.finished(report)


def held_out(numbers: Numbers) -> dict[str, Any]:
    """The numbers of an evaluation by the names that a tracker shows."""
    return {HELD_OUT + name: value for name, value in numbers.items() if name != "step"}


def recorded(folder: Path) -> list[tuple[int, Numbers]]:
    """All numbers that the run folder holds, with their steps; an evaluation comes after the step that it
    followed."""
    view = RunView(folder)
    steps = [(line["step"], 0, line) for line in view.metrics]
    evaluations = [(line["step"], 1, held_out(line)) for line in view.evaluations]
    return [(step, numbers) for step, _, numbers in sorted([*steps, *evaluations], key=lambda row: row[:2])]
