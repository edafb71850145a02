"""Charts as plain data, and the one way to draw them: as a figure of a page, or as a picture in a separate
file.

Colours are CSS variables (`charts.css`), so one drawing serves light and dark.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TypeVar

MOST_POINTS = 400
"""Most points of a line; a longer one is drawn by means of neighbouring points."""
MARKED = 12
"""In a chart without dots, a line of at most this many points shows each of them."""
TONES_IN_TURN = (1, 2, 3, 5, 4)
"""Colours of lines whose colour means nothing, in turn: blue, orange, green, violet, grey."""
STYLE = Path(__file__).with_name("charts.css")

Point = tuple[float, ...]
"""A position and its value; for a band the two values that bound it."""
P = TypeVar("P", bound=Point)
Points = Sequence[tuple[float, float]]

# The description: plain data, which `dataclasses.asdict` and `json.dumps` write


@dataclass(frozen=True)
class Axis:
    """The quantity along a side of the chart."""

    label: str = ""
    unit: str = ""
    low: float | None = None
    """The scale begins here or lower; `high` likewise."""
    high: float | None = None
    log: bool = False
    """A logarithmic scale, from the smallest value to the largest; all values must be positive."""

    @property
    def text(self) -> str:
        return ", ".join(part for part in (self.label, self.unit) if part)


@dataclass(frozen=True)
class Line:
    name: str
    points: Points
    """Positions with their values, in order; values are finite."""
    tone: int
    """Number of its colour, 0 to 5."""
    dots: bool = False
    """Separate dots, for quantities that are measured only at some steps."""
    dashed: bool = False
    """Tells a line from another of its colour; its dots are rings."""


@dataclass(frozen=True)
class Band:
    """A range around a line: an interval, a spread."""

    name: str
    """"": it belongs to a line of its colour, and is not in the legend."""
    points: Sequence[tuple[float, float, float]]
    """Positions with their lower and upper values, in order; values are finite."""
    tone: int


@dataclass(frozen=True)
class Chart:
    title: str
    lines: tuple[Line, ...]
    note: str = ""
    up: Axis = Axis()
    across: Axis = Axis("step")
    bands: tuple[Band, ...] = ()
    """Drawn below the lines."""
    stacked: bool = False
    """Lines are drawn as areas on top of each other; all of them must have the same positions."""

    @property
    def parts(self) -> tuple[Line | Band, ...]:
        """Lines and named bands in the order of the legend."""
        return (*self.lines, *(band for band in self.bands if band.name))


# Numbers and scales


def thinned(points: Sequence[P], most: int = MOST_POINTS) -> Sequence[P]:
    """At most `most` points: means of neighbouring points.

    >>> thinned([(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0), (5, 1.0)], most=3)
    [(1.5, 3.0), (3.5, 7.0), (5.0, 1.0)]
    """
    run = math.ceil(len(points) / most)
    if run <= 1:
        return points
    pieces = [points[i : i + run] for i in range(0, len(points), run)]
    means = [tuple(sum(column) / len(column) for column in zip(*piece, strict=True)) for piece in pieces]
    return means  # type: ignore[return-value]


def ticks(low: float, high: float, count: int = 3) -> list[float]:
    """Round numbers over [low, high]: steps of 1, 2 or 5 times a power of ten, the fewest that are at least
    `count`.

    >>> ticks(0, 1), ticks(3, 58)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0])

    Values that differ only by rounding get a scale around them, because an empty range has none.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - abs(low) / 2, high + (abs(high) / 2 or 1)
    size = (high - low) / count
    power = 10.0 ** math.floor(math.log10(size))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= size * (1 + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Both ends, and the powers of ten between them that are not too close to either.

    >>> log_ticks(0.5, 200), log_ticks(0.9, 200), log_ticks(3, 3)
    ([0.5, 1.0, 10.0, 100.0, 200], [0.9, 10.0, 100.0, 200], [3])
    """
    if low == high:
        return [low]
    powers = [10.0**n for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    span = math.log(high / low)
    return sorted({low, high, *(p for p in powers if 0.1 < math.log(p / low) / span < 0.9)})


def number_text(value: float) -> str:
    """A measured value, to three digits.

    >>> number_text(0.984), number_text(1234.5), number_text(99.97), number_text(0.00012)
    ('0.984', '1,234', '100', '0.00012')
    """
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def exact(value: float) -> str:
    """A round number with all its digits, so that the labels of a scale's ticks differ.

    >>> exact(10.2), exact(0.986), exact(1500.0), exact(2e-13)
    ('10.2', '0.986', '1,500', '2e-13')
    """
    return f"{value:,.12g}"


@dataclass(frozen=True)
class Scale:
    """From values to shares of a side's length."""

    low: float
    high: float
    log: bool
    ticks: Sequence[float]

    def share(self, value: float) -> float:
        if self.high == self.low:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        return number_text(tick) if self.log else exact(tick)


def scale_up(axis: Axis, values: Sequence[float]) -> Scale:
    """The scale of the values: it begins and ends with a round number."""
    low, high = bounds(axis, values)
    if axis.log:
        return Scale(low, high, True, log_ticks(low, high))
    marks = ticks(low, high)
    return Scale(marks[0], marks[-1], False, marks)


def scale_across(axis: Axis, places: Sequence[float]) -> Scale:
    """The scale of the positions: from the first to the last, with a tick in the middle."""
    low, high = bounds(axis, places)
    if axis.log:
        return Scale(low, high, True, log_ticks(low, high))
    middle = (low + high) / 2
    return Scale(
        low,
        high,
        False,
        sorted({low, round(middle) if low == int(low) and high == int(high) else middle, high}),
    )


def bounds(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    wanted = [*values, *(bound for bound in (axis.low, axis.high) if bound is not None)]
    return min(wanted), max(wanted)


# The drawing


@dataclass(frozen=True)
class Layout:
    """Sizes in the units of the drawing: pixels at its natural size."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


PAGE = Layout(380, 200, 44, 10, 10, 36)
PICTURE = Layout(460, 260, 52, 16, 32, 38)
ROW = 16
"""Height of a row of names in a picture, and of the text over the scale."""


class Frame:
    """Maps positions and values of a chart to pixels."""

    def __init__(self, chart: Chart, layout: Layout) -> None:
        heights = piled(chart.lines) if chart.stacked else chart.lines
        points: list[Point] = [point for line in heights for point in line.points]
        points += [point for band in chart.bands for point in band.points]
        self.chart = chart
        self.layout = replace(layout, top=layout.top + ROW) if chart.up.text else layout
        self.up = scale_up(chart.up, [value for point in points for value in point[1:]])
        self.across = scale_across(chart.across, [point[0] for point in points])

    def x(self, place: float) -> float:
        at = self.layout
        return round(at.left + (at.width - at.left - at.right) * self.across.share(place), 1)

    def y(self, value: float) -> float:
        at = self.layout
        return round(at.height - at.bottom - (at.height - at.top - at.bottom) * self.up.share(value), 1)

    def pairs(self, points: Points) -> str:
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)

    def axes(self) -> Iterator[str]:
        at = self.layout
        floor, end = at.height - at.bottom, at.width - at.right
        for value in self.up.ticks:
            y = self.y(value)
            yield f'<line class="grid" x1="{at.left}" x2="{end}" y1="{y}" y2="{y}"/>'
            yield f'<text x="{at.left - 6}" y="{y + 3.5}" text-anchor="end">{self.up.label(value)}</text>'
        for place in self.across.ticks:
            x = self.x(place)
            anchor = "end" if x == end else "middle"
            yield f'<text x="{x}" y="{floor + 14}" text-anchor="{anchor}">{self.across.label(place)}</text>'
        middle, label = round((at.left + end) / 2, 1), escape(self.chart.across.text)
        yield f'<text x="{middle}" y="{floor + 28}" text-anchor="middle">{label}</text>'
        if self.chart.up.text:
            yield f'<text x="{at.left}" y="{at.top - 8}">{escape(self.chart.up.text)}</text>'

    def marks(self) -> Iterator[str]:
        for band in self.chart.bands:
            upper = [(x, high) for x, _, high in band.points]
            lower = [(x, low) for x, low, _ in reversed(band.points)]
            yield f'<polygon class="band t{band.tone}" points="{self.pairs([*upper, *lower])}"/>'
        if self.chart.stacked:
            yield from areas(self)
            return
        marked = 0 if any(line.dots for line in self.chart.lines) else MARKED
        for line in self.chart.lines:
            alone = line.dots or len(line.points) == 1
            if not alone:
                yield f'<polyline class="{tone_of(line)}" points="{self.pairs(line.points)}"/>'
            if alone or len(line.points) <= marked:
                for x, y in line.points:
                    r = 3.2 if alone else 2.4
                    yield f'<circle class="{tone_of(line)}" cx="{self.x(x)}" cy="{self.y(y)}" r="{r}"/>'


def piled(lines: Sequence[Line]) -> list[Line]:
    """Each line on top of those before it."""
    totals = [0.0] * len(lines[0].points)
    found = []
    for line in lines:
        totals = [total + y for total, (_, y) in zip(totals, line.points, strict=True)]
        heights = [(x, total) for (x, _), total in zip(line.points, totals, strict=True)]
        found.append(replace(line, points=heights))
    return found


def areas(frame: Frame) -> Iterator[str]:
    """Between each line of `piled` and the one below it."""
    heights = piled(frame.chart.lines)
    below: Points = [(x, 0.0) for x, _ in heights[0].points]
    for line in heights:
        yield f'<polygon class="t{line.tone}" points="{frame.pairs([*line.points, *reversed(below)])}"/>'
        below = line.points


def tone_of(line: Line) -> str:
    """The classes of a line."""
    return f"t{line.tone}{' dashed' * line.dashed}"


def ready(chart: Chart) -> Chart:
    """The chart without empty lines and bands, and with at most `MOST_POINTS` points in each."""
    lines = tuple(replace(line, points=thinned(line.points)) for line in chart.lines if line.points)
    bands = tuple(replace(band, points=thinned(band.points)) for band in chart.bands if band.points)
    return replace(chart, lines=lines, bands=bands)


def in_words(chart: Chart) -> str:
    """The drawing in words, for screen readers: its title, and where each line begins and ends."""
    said = []
    for line in chart.lines:
        (first, start), (last, end) = line.points[0], line.points[-1]
        words = f"{line.name} {number_text(start)} at {chart.across.label} {exact(first)}"
        said.append(words if len(line.points) == 1 else f"{words}, {number_text(end)} at {exact(last)}")
    return "; ".join([chart.title, *said])


def figure(chart: Chart) -> str:
    """The chart as a figure of a page, with title, names and note as text beside the drawing; "" if there is
    no point to draw.

    `data-points` holds what `page.js` shows under the pointer: pixel, position and text for each line and
    band.
    """
    chart = ready(chart)
    if not chart.lines:
        return ""
    frame = Frame(chart, PAGE)
    named = [(line.name, f"key {tone_of(line)}{' dot' * line.dots}") for line in chart.lines]
    named += [(band.name, f"key t{band.tone} wide") for band in chart.bands if band.name]
    legend = " ".join(f'<span class="{kind}">{escape(name)} <b></b></span>' for name, kind in named)
    points = [
        [
            [frame.x(x), x, " to ".join(map(number_text, values))] for x, *values in part.points
        ]  # under the pointer
        for part in chart.parts
    ]
    at = frame.layout
    across = escape(chart.across.label)
    return "\n".join(
        [
            f'<figure class="chart" data-across="{across}" data-points="{escape(json.dumps(points))}">',
            f"<figcaption><strong>{escape(chart.title)}</strong><span class=at></span></figcaption>",
            f"<p>{escape(chart.note)}</p>" if chart.note else "",
            f"<div class=legend>{legend}</div>",
            f'<svg viewBox="0 0 {at.width} {at.height}" role="img" aria-label="{escape(in_words(chart))}">',
            *frame.axes(),
            *frame.marks(),
            f'<line class="cursor" y1="{at.top}" y2="{at.height - at.bottom}"/></svg>',
            "</figure>",
        ]
    )


def picture(chart: Chart) -> str:
    """The chart as an SVG file, with title and names in the drawing; ValueError if there is no point to
    draw."""
    chart = ready(chart)
    if not chart.lines:
        raise ValueError(f"the chart {chart.title!r} has no point to draw")
    names, bottom = legend_rows(chart)
    frame = Frame(chart, replace(PICTURE, height=PICTURE.height + bottom - PICTURE.top, top=bottom))
    at = frame.layout
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {at.width} {at.height}" width="{at.width}"'
            f' height="{at.height}" role="img" aria-label="{escape(in_words(chart))}">',
            f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>",
            f'<rect class="ground" width="{at.width}" height="{at.height}"/>',
            f'<text class="title" x="{at.left}" y="17">{escape(chart.title)}</text>',
            *names,
            *frame.axes(),
            *frame.marks(),
            "</svg>\n",
        ]
    )


def legend_rows(chart: Chart) -> tuple[list[str], int]:
    """The names with samples of their marks, in rows, and the y where the drawing may begin below them."""
    x, y, found = PICTURE.left, PICTURE.top, []
    for part in chart.parts:
        width = 36 + round(5.6 * len(part.name))  # a letter is about half as wide as high
        if x + width > PICTURE.width and x > PICTURE.left:
            x, y = PICTURE.left, y + ROW
        if isinstance(part, Band):
            sample = f'<rect class="band t{part.tone}" x="{x}" y="{y - 4}" width="16" height="8"/>'
        elif part.dots:
            sample = f'<circle class="t{part.tone}" cx="{x + 8}" cy="{y}" r="3.2"/>'
        else:
            sample = f'<polyline class="t{part.tone}" points="{x},{y} {x + 16},{y}"/>'
        found += [sample, f'<text x="{x + 21}" y="{y + 3.5}">{escape(part.name)}</text>']
        x += width
    return found, y + ROW
