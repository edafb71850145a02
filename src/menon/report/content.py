"""Everything that a page says, read from a run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menon.record import disk
from menon.record.folder import recorded
from menon.record.transcripts import read_transcript
from menon.report.answers import Marked, Pair, paired
from menon.settings import setting


@dataclass(frozen=True)
class Content:
    """Of a run that is done, stopped or under way."""

    name: str
    about: Mapping[str, Any]
    """run.json."""
    lines: Sequence[Mapping[str, Any]]
    """metrics.jsonl."""
    evaluations: Sequence[Mapping[str, Any]]
    report: Mapping[str, Any] | None
    """report.json, of a run that is done."""
    wall_s: float
    pairs: Sequence[Pair]
    """Answers to the held-out questions at the start and in the last evaluation."""
    drift: Mapping[str, Any] | None = None
    """Numbers of `study.drift`, where they were measured."""
    before: Mapping[int, Marked] = field(default_factory=dict)
    """Row -> pieces of the answer with their KL, for those that were marked."""
    after: Mapping[int, Marked] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.about.get("settings", {})

    @property
    def source(self) -> str:
        """Where the questions came from: the data or the task; else what the policy acted in."""
        if data := setting(self.settings, "data"):
            return str(data)
        kinds = {
            name: part.get("kind", "your own")
            for name in ("task", "environment")
            if (part := setting(self.settings, name))
        }
        return str(kinds.get("task") or (f"environment {kinds['environment']}" if kinds else "chain_sum"))

    @property
    def steps(self) -> int:
        return int(self.lines[-1]["step"]) if self.lines else 0

    @property
    def first(self) -> Mapping[str, Any]:
        """The evaluation before the first step."""
        return next((line for line in self.evaluations if line["step"] == 0), {})

    @property
    def last(self) -> Mapping[str, Any]:
        """The latest evaluation of a trained policy."""
        later = [line for line in self.evaluations if line["step"] > 0]
        return later[-1] if later else {}


def gather(run: Path) -> Content:
    """UserError: no run, or a run that has not finished a step."""
    about, lines = recorded(run)
    evaluations = disk.read_lines(run / "evaluations.jsonl")
    report = disk.read_json(run / "report.json")
    sittings = disk.read_json(run / "sittings.json") or []
    return Content(
        name=run.resolve().name,
        about=about,
        lines=lines,
        evaluations=evaluations,
        report=report if isinstance(report, dict) else None,
        wall_s=sum(float(sitting["wall_s"]) for sitting in sittings),
        pairs=pairs_of(run, evaluations),
    )


def pairs_of(run: Path, evaluations: Sequence[Mapping[str, Any]]) -> list[Pair]:
    files = [run / "evaluations" / f"step_{line['step']:06d}.parquet" for line in evaluations]
    if len(files) < 2 or evaluations[0]["step"] != 0 or not (files[0].exists() and files[-1].exists()):
        return []
    return paired(read_transcript(files[0]), read_transcript(files[-1]))
