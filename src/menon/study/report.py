"""`report.html` of a run, and what it adds to `report.json`: made at the end of a run and by `menon
report`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.record import disk
from menon.record.layout import Layout
from menon.record.reader import RunView
from menon.report.content import Content, gather
from menon.report.page import write
from menon.study.drift import drift
from menon.study.verdict import verdict

AT_ONCE = 2**30
"""Most bytes of weights for which the end of a run loads the start and the policy again to compare them; for
larger models this can be done later."""


def report(run: Path, notify: Callable[[str], None] = lambda sentence: None) -> Content:
    """Writes the page. The distance to the start is measured if the folder allows it, and stored in the
    report.json of a finished run. UserError: there is no run, or no step."""
    view = RunView.open(run)
    content = gather(view)
    try:
        found = drift(view, content.settings) if content.writes else None
    except UserError as error:
        notify(f"the distance to the start is left out: {error}")
    else:
        if found is None:
            write(view.layout.page, content)
            return content
        content = replace(content, drift=found.numbers, before=found.before, after=found.after)
        if content.report is not None:
            disk.write_json(view.layout.report, {**content.report, "drift": found.numbers})
    write(view.layout.page, content)
    return content


def at_the_end(run: Path, notify: Callable[[str], None]) -> Mapping[str, Any]:
    """As `report`, at the end of a run; returns what it adds to the run's report. The run itself is already
    on the disk, so an error here only notifies the user. Large models are not loaded a second time; `menon
    report` does that."""
    layout = Layout(run)
    learned = with_verdict(RunView(run))
    try:
        if sum(file.stat().st_size for file in layout.latest.glob("*.safetensors")) > AT_ONCE:
            write(layout.page, gather(RunView.open(run)))
            notify(
                f"the distance to the start is not measured yet; `menon report {run}` loads both models "
                "and does it"
            )
            return learned
        content = report(run, notify)
    except Exception as error:
        notify(f"{layout.page} could not be made ({error}); `menon report {run}` tries again")
        return learned
    return learned | ({} if content.drift is None else {"drift": content.drift})


def with_verdict(view: RunView) -> dict[str, Any]:
    """The verdict on a finished run, which is also added to its report.json; {} where there is none."""
    found = verdict(view)
    if found is None:
        return {}
    if view.report is not None:
        disk.write_json(view.layout.report, {**view.report, "verdict": found})
    return {"verdict": found}
