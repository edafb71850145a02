"""The lines of a chart: numbers of one run, or means over runs that differ in nothing but their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from menon.record.reader import RunView
from menon.study.seeds import Group, groups_of, t_quantile
from menon.workbench.follow import Followers
from menon.workbench.panels import Panel, Series, found
from menon.workbench.reduce import kept, smoothed

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """A line of a chart; arrays are [K]."""

    label: str
    of: str
    """The run, or the name of the runs that differ in nothing but their seeds."""
    name: str
    """The number's name in its file."""
    held: bool
    runs: int
    x: Floats
    """Steps done."""
    y: Floats
    low: Floats | None = None
    """Ends of the 95 % interval: over the questions for one run, over seeds for several."""
    high: Floats | None = None
    smooth: Floats | None = None


@dataclass(frozen=True)
class Asked:
    """How lines are to be drawn."""

    pixels: int = 800
    smooth: float = 0.0
    start: float = -np.inf
    end: float = np.inf
    """Steps between which they are drawn."""


def groups(views: Mapping[str, RunView]) -> list[Group]:
    """The runs by name, those that differ in nothing but their seeds together. A single run goes by its own
    name; two sets of one name go by those of their first runs."""
    if len(views) < 2:
        return [Group(name, (view,)) for name, view in views.items()]
    names = {id(view): name for name, view in views.items()}
    of = groups_of(list(views.values()))
    twice = len({group.name for group in of}) < len(of)
    return [
        replace(group, name=names[id(group.runs[0])]) if twice or len(group.runs) == 1 else group
        for group in of
    ]


def lines(panel: Panel, of: Sequence[Group], files: Followers, asked: Asked) -> list[Drawn]:
    """The lines of a panel, for every group of runs that has them."""
    drawn = [line for group in of for line in of_group(panel, group, files)]
    between = [clipped(line, asked.start, asked.end) for line in drawn]
    if asked.smooth:
        between = [one if one.held else replace(one, smooth=smoothed(one.y, asked.smooth)) for one in between]
    shared: dict[tuple[str, bool], list[Drawn]] = {}
    for one in between:
        shared.setdefault((one.of, one.held), []).append(one)
    places = {key: kept(columns(those), asked.pixels) for key, those in shared.items() if same_x(those)}
    return [
        at(one, places[key] if (key := (one.of, one.held)) in places else kept(columns([one]), asked.pixels))
        for one in between
        if len(one.x)
    ]


def of_group(panel: Panel, group: Group, files: Followers) -> list[Drawn]:
    """The lines of one run, or the means over several."""
    metrics = [files.read(run.layout.metrics) for run in group.runs]
    evaluations = [files.read(run.layout.evaluations) for run in group.runs]
    names = list(dict.fromkeys(name for file in metrics for name in file.names()))
    held = list(dict.fromkeys(name for file in evaluations for name in file.names()))
    lines = []
    for series in found(panel, names, held):
        files_of = evaluations if series.held else metrics
        there = [file for file in files_of if series.name in file.names()]
        columns = [known(*file.column(series.name), series) for file in there]
        line = Drawn(series.label, group.name, series.name, series.held, len(columns), *columns[0])
        if len(columns) > 1:
            line = over_seeds(line, columns)
        elif series.held and f"{series.name}_low" in there[0].names():
            ends = [there[0].column(f"{series.name}_{end}")[1] for end in ("low", "high")]
            line = replace(line, low=ends[0], high=ends[1])
        lines.append(line)
    return lines


def known(x: Floats, y: Floats, series: Series) -> tuple[Floats, Floats]:
    """The column without what stands for "there were none"."""
    return x, np.where(y > 0, y, np.nan) if series.positive else y


def over_seeds(line: Drawn, columns: Sequence[tuple[Floats, Floats]]) -> Drawn:
    """The mean over runs at the steps that all of them have, with its 95 % interval by Student's t."""
    x = reduce(np.intersect1d, [steps for steps, _ in columns])
    if not len(x):
        return replace(line, x=x, y=x)
    values = np.stack([y[np.searchsorted(steps, x)] for steps, y in columns])  # steps rise
    middle = values.mean(0)
    half = t_quantile(len(columns) - 1) * values.std(0, ddof=1) / np.sqrt(len(columns))
    return replace(line, x=x, y=middle, low=middle - half, high=middle + half)


def columns(those: Sequence[Drawn]) -> list[Floats]:
    """Every column of lines that share their steps."""
    return [
        column for one in those for column in (one.y, one.low, one.high, one.smooth) if column is not None
    ]


def same_x(those: Sequence[Drawn]) -> bool:
    return all(np.array_equal(one.x, those[0].x) for one in those)


def at(line: Drawn, places: NDArray[np.int64]) -> Drawn:
    """The line at some of its places."""

    def of(column: Floats | None) -> Floats | None:
        return None if column is None else column[places]

    return replace(
        line,
        x=line.x[places],
        y=line.y[places],
        low=of(line.low),
        high=of(line.high),
        smooth=of(line.smooth),
    )


def clipped(line: Drawn, start: float, end: float) -> Drawn:
    """The line between two steps, and the points next to them."""
    inside = np.flatnonzero((line.x >= start) & (line.x <= end))
    if not len(inside):
        return at(line, inside)
    return at(line, np.arange(max(inside[0] - 1, 0), min(inside[-1] + 2, len(line.x))))
