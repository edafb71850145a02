"""The contents of a report page, read from a run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from menon.record.asynchrony import asynchrony
from menon.record.reader import RunView
from menon.report.answers import Marked, Pair, paired
from menon.settings import setting


@dataclass(frozen=True)
class Content:
    """The contents of the page of a run that is done, stopped or running."""

    name: str
    about: Mapping[str, Any]
    """The contents of `run.json`."""
    lines: Sequence[Mapping[str, Any]]
    """The metrics, one line per finished step."""
    evaluations: Sequence[Mapping[str, Any]]
    report: Mapping[str, Any] | None
    """The report of a finished run, else None."""
    wall_s: float
    pairs: Sequence[Pair]
    """Answers to the held-out questions at the start and in the last evaluation."""
    warnings: Sequence[str] = ()
    """What the run was warned of."""
    drift: Mapping[str, Any] | None = None
    """Numbers of `study.drift`, where they were measured."""
    before: Mapping[int, Marked] = field(default_factory=dict)
    """Row -> pieces of the answer with their KL, for answers whose tokens were marked."""
    after: Mapping[int, Marked] = field(default_factory=dict)
    asynchrony: Mapping[str, Any] = field(default_factory=dict)
    """`record.asynchrony` of a run whose text was written beside the updates."""

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.about.get("settings", {})

    @property
    def source(self) -> str:
        """Where the questions came from: the given text, the data, the task, or the environment."""
        if rows := self.settings.get("rows"):
            return str(rows.get("data"))
        if data := setting(self.settings, "data"):
            return str(data)
        kinds = {
            name: part.get("kind", "your own")
            for name in ("task", "environment")
            if (part := setting(self.settings, name))
        }
        return str(kinds.get("task") or (f"environment {kinds['environment']}" if kinds else "chain_sum"))

    @property
    def writes(self) -> bool:
        """Whether the policy writes answers, which a run on given text alone does not."""
        return not self.evaluations or any("mean_length" in line for line in self.evaluations)

    @property
    def steps(self) -> int:
        return int(self.lines[-1]["step"]) if self.lines else 0

    @property
    def measures(self) -> tuple[str, ...]:
        """What the run is judged by: accuracy and reward, or the reward alone where some evaluation does not
        know which answers are right."""
        known = all(line.get("accuracy") is not None for line in self.evaluations)
        return ("accuracy", "reward") if known else ("reward",)

    @property
    def first(self) -> Mapping[str, Any]:
        """The evaluation before the first step."""
        return next((line for line in self.evaluations if line["step"] == 0), {})

    @property
    def last(self) -> Mapping[str, Any]:
        """The latest evaluation of a trained policy."""
        later = [line for line in self.evaluations if line["step"] > 0]
        return later[-1] if later else {}


def gather(view: RunView) -> Content:
    """Reads the contents; UserError for a run that has not finished a step."""
    return Content(
        name=view.name,
        about=view.about,
        lines=view.finished_steps(),
        evaluations=view.evaluations,
        report=view.report,
        wall_s=view.wall_s,
        pairs=pairs_of(view),
        warnings=view.warnings,
        asynchrony=asynchrony(view),
    )


def pairs_of(view: RunView) -> list[Pair]:
    """Answers to the same questions before the first step and in the last evaluation; [] without both."""
    steps = [line["step"] for line in view.evaluations]
    if len(steps) < 2 or steps[0] != 0 or not {0, steps[-1]} <= set(view.answers.steps):
        return []
    return paired(view.answers.rows(0), view.answers.rows(steps[-1]))
