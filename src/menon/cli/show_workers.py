"""What the worker processes of a run have to do, or last had to do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from menon.cli.lines import Cell, table

if TYPE_CHECKING:
    from rich.text import Text

    from menon.record.heartbeat import Heartbeat, WorkerLine
    from menon.record.reader import RunView

WAITS = "wait for work"


def as_data(view: "RunView") -> dict[str, Any]:
    """State, steps and workers of a run, as JSON shows them."""
    return {
        "run": str(view.path),
        "state": view.state,
        "step": view.steps,
        "why": str(view.ended.get("error") or ""),
        "heartbeat": view.heartbeat,
    }


def worker_lines(view: "RunView", found: "Heartbeat") -> "Iterator[Text | str]":
    """A line about the run, and a table of its workers."""
    ago, runs = ago_text(found["looked_ago"]), view.state == "running"
    yield (
        f"{view.path} {'runs' if runs else 'ended'}, {view.steps} steps are done. What each process "
        f"{'has' if runs else 'last had'} to do, as the controller (pid {found['controller']}) saw it {ago}:"
    )
    if not runs and (why := view.ended.get("error")):
        yield f"It ended because {why}"
    head = ["process", "pid", "heard", "progress", "has to" if runs else "had to"]
    rows: list[list[Cell]] = [
        [
            one["name"],
            str(one["pid"]),
            ago_text(one["heard_ago"], before=not runs),
            ago_text(one["progress_ago"], before=not runs),
            doing(one),
        ]
        for one in found["workers"]
    ]
    yield from table(head, rows, ["process", head[-1]])


def in_one_line(run: str, state: str, found: "Heartbeat") -> str:
    """The workers of a run for a list of runs."""
    ago = ago_text(found["looked_ago"])
    what = "has to" if state == "running" else "had to"
    each = "; ".join(f"{one['name']} {what} {doing(one)}" for one in found["workers"])
    return f"{run}, seen {ago}: {each}"


def doing(one: "WorkerLine") -> str:
    """What it has to do, and why it was ended."""
    ended = f" (ended: {one['ended_for']})" if one["ended_for"] else ""
    return f"{one['task'] or WAITS}{ended}"


def ago_text(seconds: float, before: bool = False) -> str:
    """
    >>> ago_text(3.21), ago_text(200), ago_text(8000, before=True)
    ('3.2 s ago', '3 min ago', '2.2 h before')
    """
    when = "before" if before else "ago"
    if seconds < 60:
        return f"{seconds:.1f} s {when}"
    return f"{seconds / 60:.0f} min {when}" if seconds < 3600 else f"{seconds / 3600:.1f} h {when}"
