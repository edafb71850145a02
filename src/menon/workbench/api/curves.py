"""The curves of runs: which charts there are, and their lines for a screen, as CSV, and as SVG."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from menon.errors import UserError
from menon.record import disk
from menon.record.reader import RunView
from menon.report.charts import TONES_IN_TURN, Axis, Band, Chart, Line, picture
from menon.study.seeds import Group
from menon.workbench.answers import route
from menon.workbench.follow import Followers
from menon.workbench.lines import Asked, Drawn, groups, lines
from menon.workbench.panels import KEYS, PANELS, Panel, found, others, single
from menon.workbench.runs import Runs

MOST_PIXELS = 4000
FIRST = 2
"""Charts whose lines come with the list of charts."""
MOST_RUNS = 64
"""Runs that are drawn over one another."""


def routes(runs: Runs) -> list[Route]:
    files = Followers()

    def charts(request: Request) -> dict:
        of, pixels = views(runs, request.query_params.get("runs", "")), request.query_params.get("pixels")
        found = charts_of(of, files)
        if pixels is not None:
            found["first"] = first_of(found, of, files, asked(request.query_params))
        return found

    def curve(request: Request) -> object:
        query = request.query_params
        of = groups(views(runs, query.get("runs", "")))
        panel = panel_of(query.get("chart", ""))
        form = query.get("format", "json")
        drawn = lines_of(panel, of, files, asked(query) if form == "json" else whole(query))
        if form == "csv":
            return download(csv_of(drawn), "text/csv", f"{panel.key}.csv")
        if form == "svg":
            return download(
                svg_of(panel, drawn, query.get("log") == "1"), "image/svg+xml", f"{panel.key}.svg"
            )
        return {"chart": described(panel), "lines": [vars(one) for one in drawn]}

    def follow(request: Request) -> dict:
        of = views(runs, request.query_params.get("runs", ""))
        return {name: where(view, files) for name, view in of.items()}

    return [route("/api/charts", charts), route("/api/curves", curve), route("/api/follow", follow)]


def views(runs: Runs, names: str) -> dict[str, RunView]:
    """The runs with these names, a comma between them. UserError: none, too many, or one that is not
    there."""
    asked = list(dict.fromkeys(name for name in names.split(",") if name))
    if not asked or len(asked) > MOST_RUNS:
        raise UserError(f"name 1 to {MOST_RUNS} runs, with commas between them")
    return {name: runs.view(name) for name in asked}


def panel_of(key: str) -> Panel:
    """The chart of a key, or of one number by its name."""
    if not key:
        raise UserError("name a chart with chart=")
    return KEYS.get(key) or single(key.replace("*", ""))


def asked(query: Mapping[str, str]) -> Asked:
    """What the page asked for. UserError for a value that is no number."""
    pixels = int(number(query, "pixels", 800, 10, MOST_PIXELS))
    smooth = number(query, "smooth", 0.0, 0.0, 0.999)
    return Asked(pixels, smooth, number(query, "start", -math.inf), number(query, "end", math.inf))


def whole(query: Mapping[str, str]) -> Asked:
    """Every point, smoothed as on the page."""
    return Asked(10**9, number(query, "smooth", 0.0, 0.0, 0.999))


def number(
    query: Mapping[str, str], name: str, default: float, low: float = -math.inf, high: float = math.inf
) -> float:
    """A number of the address, held between two ends."""
    text = query.get(name)
    try:
        value = float(text) if text else default
    except ValueError:
        raise UserError(f"{name} is {text!r}; it takes a number") from None
    if math.isnan(value):
        raise UserError(f"{name} takes a number")
    return min(max(value, low), high)


def charts_of(of: Mapping[str, RunView], files: Followers) -> dict:
    """The charts that these runs have something for, by group, and the numbers that no chart draws."""
    metrics = [files.read(view.layout.metrics) for view in of.values()]
    evaluations = [files.read(view.layout.evaluations) for view in of.values()]
    names = list(dict.fromkeys(name for file in metrics for name in file.names()))
    held = list(dict.fromkeys(name for file in evaluations for name in file.names()))
    grouped = {
        title: [described(panel) for panel in panels if found(panel, names, held)]
        for title, panels in PANELS.items()
    }
    return {
        "groups": [{"title": title, "charts": there} for title, there in grouped.items() if there],
        "others": [{"name": name, "note": single(name).note} for name in others(names)],
        "sets": [{"name": group.name, "runs": len(group.runs)} for group in groups(of)],
    }


def first_of(found: dict, of: Mapping[str, RunView], files: Followers, how: Asked) -> dict:
    """The lines of the charts that a page shows first, by key, so that it need not ask again for them."""
    keys = [chart["key"] for group in found["groups"] for chart in group["charts"]][:FIRST]
    return {key: [vars(one) for one in lines_of(KEYS[key], groups(of), files, how)] for key in keys}


def lines_of(panel: Panel, of: Sequence[Group], files: Followers, how: Asked) -> list[Drawn]:
    """The lines of a chart; one that is stacked is of the first run."""
    return lines(panel, of[:1] if panel.stacked else of, files, how)


def described(panel: Panel) -> dict:
    """A panel without its numbers."""
    return {name: value for name, value in vars(panel).items() if name != "series"}


def where(view: RunView, files: Followers) -> dict:
    """How far a run is, and how far its files are read: a page that knows this position has all of it."""
    metrics, evaluations = files.read(view.layout.metrics), files.read(view.layout.evaluations)
    return {
        "position": [metrics.inode, metrics.position, evaluations.position],
        "step": int(metrics.steps[-1]) if metrics.steps else 0,
        "state": view.state,
        "damaged": [Path(file.path).name for file in (metrics, evaluations) if file.damaged],
    }


# Files


def name_of(one: Drawn, several: bool) -> str:
    """A line's name where lines of several runs are together."""
    seeds = f", {one.runs} seeds" if one.runs > 1 else ""
    return f"{one.label} ({one.of}{seeds})" if several else one.label


def csv_of(drawn: Sequence[Drawn]) -> str:
    """Every point of every line, one a row."""
    rows = [
        {"run": one.of, "runs": one.runs, "name": one.name, "held_out": one.held, "step": int(x)}
        | {"value": one.y[i]}
        | {end: None if (ends := getattr(one, end)) is None else ends[i] for end in ("low", "high", "smooth")}
        for one in drawn
        for i, x in enumerate(one.x)
    ]
    if not rows:
        raise UserError("there is nothing to write yet")
    known = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows
    ]
    return disk.csv_text(known)


def svg_of(panel: Panel, drawn: Sequence[Drawn], log: bool) -> str:
    """The chart as a picture. UserError: no point."""
    several = len({one.of for one in drawn}) > 1
    parts, bands = [], []
    for place, one in enumerate(drawn):
        tone = TONES_IN_TURN[place % len(TONES_IN_TURN)]
        values = one.y if one.smooth is None else one.smooth
        points = [(float(x), float(y)) for x, y in zip(one.x, values, strict=True) if good(y, log)]
        parts.append(Line(name_of(one, several), points, tone, dots=one.held))
        if one.low is not None and one.high is not None:
            triples = zip(one.x.tolist(), one.low.tolist(), one.high.tolist(), strict=True)
            bands.append(Band("", [p for p in triples if good(p[1], log) and good(p[2], log)], tone))
    if not any(line.points for line in parts):
        raise UserError("there is nothing to draw yet")
    up = Axis(unit=panel.unit, log=log) if log else Axis(unit=panel.unit, low=panel.low, high=panel.high)
    return picture(
        Chart(panel.title, tuple(parts), up=up, bands=tuple(bands), stacked=panel.stacked and not log)
    )


def good(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def download(text: str, kind: str, name: str) -> Response:
    """A file for the browser to keep; never shown as a page."""
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)
    return Response(text, media_type=kind, headers={"content-disposition": f'attachment; filename="{safe}"'})
