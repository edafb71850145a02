"""`report.html` of a run, and what it adds to `report.json`: made at the end of a run and by `menon
report`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.record import disk
from menon.report.content import Content, gather
from menon.report.page import write
from menon.study.drift import drift

PAGE = "report.html"
AT_ONCE = 2**30
"""Bytes of weights up to which the end of a run loads start and policy again to compare them; it can be done
later."""


def report(run: Path, notify: Callable[[str], None] = lambda sentence: None) -> Content:
    """Writes the page. The distance to the start is measured where the folder allows it, and kept in the
    report.json of a run that is done. UserError: no run, or no step."""
    content = gather(run)
    try:
        found = drift(run, content.settings)
    except UserError as error:
        notify(f"the distance to the start is left out: {error}")
    else:
        content = replace(content, drift=found.numbers, before=found.before, after=found.after)
        if content.report is not None:
            disk.write_json(run / "report.json", {**content.report, "drift": found.numbers})
    write(run / PAGE, content)
    return content


def at_the_end(run: Path, notify: Callable[[str], None]) -> Mapping[str, Any]:
    """As `report`, for a run that is done: what it adds to the report. It has all it needs on the disk
    already, so whatever goes wrong here is said and costs it nothing. Large models are not loaded a second
    time; `menon report` does that."""
    try:
        if (
            sum(file.stat().st_size for file in (run / "checkpoints" / "latest").glob("*.safetensors"))
            > AT_ONCE
        ):
            write(run / PAGE, gather(run))
            notify(
                f"the distance to the start is not measured yet; `menon report {run}` loads both models "
                "and does it"
            )
            return {}
        content = report(run, notify)
    except Exception as error:
        notify(f"{run / PAGE} could not be made ({error}); `menon report {run}` tries again")
        return {}
    return {} if content.drift is None else {"drift": content.drift}
