"""Reads the folder of a pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon.errors import UserError
from menon.pipeline.stage import REPORT
from menon.record import disk
from menon.record.layout import PIPELINE
from menon.report.several import Table
from menon.settings import Tree, merged, read, setting

if TYPE_CHECKING:
    from menon.pipeline.plan import Plan

MEASURES = ("accuracy", "pairs/accuracy", "nll", "reward")
"""The number by which a run is judged: the first that it has before and after."""


@dataclass(frozen=True)
class PipelineView:
    """The folder of a pipeline, as its pipeline.json says."""

    path: Path
    about: Mapping[str, Any]

    @staticmethod
    def open(path: Path) -> "PipelineView":
        """UserError: there is no pipeline, or its pipeline.json is damaged."""
        about = disk.read_json(path / PIPELINE)
        if not (path / PIPELINE).exists():
            raise UserError(f"{path} holds no pipeline (no {PIPELINE})")
        known = isinstance(about, dict) and about.get("format") == 1
        if not known or not {"recipe", "settings", "stages", "threads"} <= about.keys():
            raise UserError(
                f"{path / PIPELINE} is damaged, or of another version; begin anew with another out="
            )
        return PipelineView(path, about)

    @property
    def threads(self) -> int:
        return int(self.about["threads"])

    @property
    def device(self) -> str:
        """The device that the stages name; auto if they name none."""
        found = [setting(one["settings"], "device") for one in self.about["stages"]]
        return next((str(device) for device in found if device), "auto")

    @cached_property
    def reports(self) -> dict[str, Any]:
        """The reports of the stages that are finished, by their names."""
        found = {
            one["name"]: disk.read_json(self.path / one["folder"] / REPORT) for one in self.about["stages"]
        }
        return {name: report for name, report in found.items() if report is not None}

    @property
    def report(self) -> dict[str, Any]:
        """The report of the whole: those of the finished stages, and the numbers before the first run and
        after the last one."""
        does = {one["name"]: one["does"] for one in self.about["stages"]}
        stages = {name: {"does": does[name], **report} for name, report in self.reports.items()}
        runs = [one for one in stages.values() if numbers_of(one)]
        return {
            "recipe": self.about["recipe"],
            "before": runs[0]["before"] if runs else None,
            "after": runs[-1]["after"] if runs else None,
            "stages": stages,
        }

    def plan(self, path: Path, changes: Tree) -> "Plan":
        """The pipeline with the settings that it began with; `changes` may have `skip`."""
        from menon.pipeline.plan import Plan, checked, listed, settings_class

        cls = settings_class(self.about["recipe"])
        settings = read(cls, merged(self.about["settings"], listed({**changes, "out": str(path)})))
        kinds = {name: type(stage) for name, stage in settings.stages().items()}
        stages = {one["name"]: read(kinds[one["name"]], one["settings"]) for one in self.about["stages"]}
        return checked(Plan(self.about["recipe"], settings, stages))


def numbers_of(report: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """The measure of a stage's report, and its value before and after; None: it has none."""
    before, after = report.get("before") or {}, report.get("after") or {}
    name = next((one for one in MEASURES if before.get(one) is not None and after.get(one) is not None), None)
    return None if name is None else (name, float(before[name]), float(after[name]))


def table_of(report: Mapping[str, Any], in_words: bool = False) -> Table:
    """The stages of a report, one line each, and the whole; `in_words` adds what each stage did."""
    rows: list[tuple[str, ...]] = []
    whole = {"the whole": {**report, "does": ""}} if numbers_of(report) else {}
    for name, stage in (report["stages"] | whole).items():
        found = numbers_of(stage)
        measure = "" if found is None else found[0]
        numbers = ["", ""] if found is None else [f"{value:.3f}" for value in found[1:]]
        made = f"{stage['kept']:,} rows" if "kept" in stage else ""
        words = (stage.get("summary", stage["does"]),) if in_words else ()
        rows.append((name, measure, *numbers, made, *words))
    head = ("stage", "measure", "before", "after", "made", "what it did")
    return Table(head if in_words else head[:-1], rows)
