"""The runs that are shown, one line each, the dumps of other libraries beside them, and the settings in which
runs differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from menon.errors import UserError
from menon.record.layout import Layout
from menon.record.reader import NewerFormat, RunView
from menon.report.differences import value_text
from menon.study.listing import WRONG, differing, line_of, unreadable
from menon.workbench.answers import route
from menon.workbench.dumps import Dumps
from menon.workbench.runs import Runs

MOST_DIFFER = 200
"""Runs whose settings are compared with each other."""
Signature = tuple[tuple[int, int, int], ...]


def routes(runs: Runs) -> list[Route]:
    lines, dumps = Lines(), Dumps()

    def listing(request: Request) -> list[dict]:
        paths = runs.paths()
        return [lines.of(name, path) for name, path in paths.items()] + dumps.lines(runs, paths)

    def differences(request: Request) -> dict[str, dict[str, str]]:
        return different(runs.paths())

    return [route("/api/runs", listing), route("/api/runs/differences", differences)]


class Lines:
    """The lines of runs, each read again when one of its files has changed."""

    def __init__(self) -> None:
        self.kept: dict[Path, tuple[Signature, dict]] = {}

    def of(self, name: str, path: Path) -> dict:
        """One run; a folder that cannot be read has an `error` in place of its numbers."""
        now = signature(Layout(path))
        if path not in self.kept or self.kept[path][0] != now:
            self.kept[path] = now, line(path)
        found = {"name": name, **self.kept[path][1]}
        return found if "error" in found else found | {"state": RunView(path).state}


def signature(layout: Layout) -> Signature:
    """What changes when a file of the run is written."""
    files = layout.about, layout.metrics, layout.evaluations, layout.events, layout.sessions, layout.notes
    found = []
    for file in files:
        try:
            about = file.stat()
            found.append((about.st_ino, about.st_mtime_ns, about.st_size))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)


def line(path: Path) -> dict[str, Any]:
    """The numbers of a run as `menon runs --json` has them, with the time of its creation."""
    try:
        view = RunView.open(path)
        return {**line_of(view), "created": str(view.about.get("created") or "")}
    except NewerFormat as error:
        return {**unreadable(path, "newer"), "created": "", "error": str(error)}
    except (UserError, OSError, *WRONG) as error:
        said = str(error) or "a file of it holds values of another kind than a run's"
        return {**unreadable(path, "damaged"), "created": "", "error": said}


def different(paths: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Run -> the settings that are not the same in all runs, by short name, as they are typed."""
    views: dict[int, RunView] = {}
    names = list(paths)[:MOST_DIFFER]
    for place, name in enumerate(names):
        try:
            views[place] = RunView.open(paths[name])
            line_of(views[place])
        except (UserError, OSError, *WRONG):
            views.pop(place, None)
    try:
        found = differing(views)
    except WRONG:  # settings of another menon or another hand
        return {}
    return {
        names[place]: {key: value_text(value) for key, value in values.items()}
        for place, values in found.items()
    }
