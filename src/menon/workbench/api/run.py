"""One run: what it is, its settings, its events, what is wrong with it, and where it is going."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from menon.errors import UserError
from menon.record.reader import FORMAT, RunView, ranges
from menon.report.differences import ABSENT, differences, value_text
from menon.study.forecast import forecast_of, series
from menon.study.listing import WRONG, line_of, recipe_of, tree_of
from menon.workbench.answers import route
from menon.workbench.api.curves import views
from menon.workbench.api.listing import signature
from menon.workbench.findings import Finder
from menon.workbench.runs import Runs

MOST_EVENTS = 300
QUIET = ("published", "wrote", "saved", "waited")
"""Kinds of events of every step, which are counted and not listed."""
MOST_POINTS = 2000
"""Most points of the forecast's drawing."""


def routes(runs: Runs) -> list[Route]:
    kept, finder = Kept(), Finder()

    def about(request: Request) -> dict:
        name = request.path_params["run"]
        return kept.of(runs.view(name), "head", described) | {"name": name}

    def settings(request: Request) -> dict:
        name = request.path_params["run"]
        beside = request.query_params.get("with", "")
        return settings_of(views(runs, f"{name},{beside}"))

    def findings(request: Request) -> dict:
        return kept.of(runs.view(request.path_params["run"]), "findings", finder.of)

    def forecast(request: Request) -> dict:
        return kept.of(runs.view(request.path_params["run"]), "forecast", forecast_with_points)

    return [
        route("/api/run/{run}", about),
        route("/api/run/{run}/settings", settings),
        route("/api/run/{run}/findings", findings),
        route("/api/run/{run}/forecast", forecast),
    ]


class Kept:
    """Results that take long, kept until a file of the run changes; each is computed once at a time."""

    def __init__(self, most: int = 64) -> None:
        self.most, self.locks = most, defaultdict[str, threading.Lock](threading.Lock)
        self.found: dict[tuple[Path, str], tuple[Any, dict]] = {}

    def of(self, view: RunView, what: str, make: Callable[[RunView], dict]) -> dict:
        with self.locks[f"{what} {view.path}"]:
            now = signature(view.layout), view.state
            key = view.path, what
            if key not in self.found or self.found[key][0] != now:
                if len(self.found) >= self.most:
                    self.found.pop(next(iter(self.found)), None)
                self.found[key] = now, make(view)
            return self.found[key][1]


def described(view: RunView) -> dict:
    """What the head of the page says of a run."""
    try:
        line: dict[str, Any] = {**line_of(view)}
        warnings, ended, events, quiet = view.warnings, view.ended, *events_of(view)
    except UserError:
        raise
    except WRONG as error:
        raise UserError(
            f"{view.path} holds values of another kind than a run's ({error}), so it cannot be shown"
        ) from None
    return {
        **line,
        "format": view.format,
        "created": view.about.get("created"),
        "determinism": view.about.get("determinism"),
        "machine": {key: view.about.get(key) for key in ("machine", "versions") if view.about.get(key)},
        "best": view.best(),
        "measure": view.measure,
        "warnings": warnings,
        "ended": ended,
        "answers": {"training": ranges(view.transcripts.steps), "evaluations": ranges(view.answers.steps)},
        "newest": newest(view),
        "imported": bool(view.imported),
        "missing": missing(view),
        "events": events,
        "quiet": quiet,
        "notes": view.notes,
    }


def newest(view: RunView) -> dict[str, int] | None:
    """The last step with answers, and the group of its first one; None if there are none to be read."""
    for step in view.transcripts.steps[-1:]:
        with suppress(UserError, OSError, *WRONG):
            for row in view.transcripts.rows(step, ["group"])[:1]:
                return {"step": step, "group": row["group"]}
    return None


def events_of(view: RunView) -> tuple[list[dict], dict[str, int]]:
    """The last events that are not of every step, and how often the others happened."""
    told = [event for event in view.all_events if event["kind"] not in QUIET]
    quiet = {kind: sum(event["kind"] == kind for event in view.events) for kind in QUIET}
    return told[-MOST_EVENTS:], {kind: count for kind, count in quiet.items() if count}


def missing(view: RunView) -> list[str]:
    """What this folder does not have, as sentences."""
    said = []
    if view.imported:
        kinds, lacks = (view.imported.get(name) or () for name in ("kinds", "missing"))
        rest = f"; it lacks {', '.join(map(str, lacks))}" if lacks else ""
        said.append(f"imported from {' and '.join(map(str, kinds))}{rest}; its steps cannot be replayed")
    if view.format < FORMAT:
        said.append(
            f"written by an earlier menon (format {view.format}): it has neither events nor the text of each "
            "token"
        )
    if not view.metrics:
        said.append("no step is finished yet")
    elif not view.evaluations:
        said.append("no evaluation of held-out questions is recorded")
    if view.metrics and not view.transcripts.steps:
        said.append("no answers are stored, so none can be shown")
    return said


# Settings


def settings_of(of: Mapping[str, RunView]) -> dict:
    """Every setting of the first run, with what its recipe has where that differs, and what other runs have
    where they differ from it."""
    trees = {name: tree_of(view) for name, view in of.items()}
    first, *rest = trees.values()
    try:
        recipe = recipe_of(first)
    except WRONG:
        recipe = None
    changed = {} if recipe is None else {one.path: one.text(0) for one in differences([recipe, first])}
    beside = differences([first, *rest]) if rest else []
    return {
        "runs": list(of),
        "recipe_known": recipe is not None,
        "rows": [
            {"path": ".".join(path), "value": value, "recipe": changed.get(path)}
            for path, value in flat(first)
        ],
        "differ": [
            {"path": ".".join(one.path), "values": [one.text(place) for place in range(len(of))]}
            for one in beside
        ],
    }


def flat(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """Every setting with its path and its text."""
    if isinstance(tree, Mapping) and tree:
        return [row for name, value in tree.items() for row in flat(value, (*path, str(name)))]
    return [(path, value_text(None if tree is ABSENT or tree == {} else tree))]


# Where it is going


def forecast_with_points(view: RunView) -> dict:
    """Both laws and the points that they were fitted to; {"missing": why} of a run that has none."""
    try:
        found = forecast_of(view)
        name, steps, entropies, scores = series(view)
    except UserError as error:
        return {"missing": str(error)}
    except WRONG as error:
        return {"missing": f"{view.path} lacks numbers that a forecast needs ({error})"}
    every = -(-len(steps) // MOST_POINTS)
    points = {"steps": steps[::every], "entropies": entropies[::every], "scores": scores[::every]}
    return {**found, "points": points, "of": name}
