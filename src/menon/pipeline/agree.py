"""A stage that holds a judge against labels."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from menon.eval.agreement import Agreement, agreement, bins_of, calibration_error, lines_of
from menon.pipeline.stage import REPORT, Here, Stage
from menon.record import disk


@dataclass(frozen=True)
class Agree(Stage):
    """Asks a judge about labelled answers: agreement, Cohen's kappa and calibration for each kind of case."""

    judge: str
    """The judge's model."""
    cases: str
    """A file of labelled answers."""
    prompt: str
    """What the judge is asked."""
    makes: ClassVar[str] = REPORT

    def run(self, here: Here) -> None:
        from menon.assembly.judging import asked_of, judge_of

        cases = [json.loads(line) for line in Path(self.cases).read_text(encoding="utf-8").splitlines()]
        verdicts = judge_of(self.judge, prompt=self.prompt).many([asked_of(case) for case in cases])
        report: dict[str, Any] = {}
        for kind in sorted({case["kind"] for case in cases}):
            mine = [place for place, case in enumerate(cases) if case["kind"] == kind]
            found = agreement([cases[place] for place in mine], [verdicts[place] for place in mine], True)
            report[kind] = numbers_of(found)
            here.tell("\n".join([f"{kind}: {lines_of(found)[0]}", lines_of(found)[1], *bins_of(found.bins)]))
        summary = "; ".join(f"{kind}: {one['words']}" for kind, one in report.items())
        disk.write_json(here.folder / REPORT, {"kinds": report, "summary": summary})

    def words(self) -> str:
        return f"{self.judge} is held against labels that it has not seen"


def numbers_of(found: Agreement) -> dict[str, Any]:
    """For report.json; null in place of a number that is not defined."""
    error = calibration_error(found.bins)
    numbers = {"agreement": found.share, "kappa": found.kappa, "calibration_error": error}
    known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
    bins = [[one.low, one.high, one.count, one.expected, one.observed] for one in found.bins]
    counts = {"cases": found.cases, "failed": found.failed, "unparsable": found.unparsable}
    return {**counts, **known, "bins": bins, "words": lines_of(found)[1]}
