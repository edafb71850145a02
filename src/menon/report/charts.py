"""Small charts as SVG text. Colours are CSS variables of the page, so one drawing serves light and dark."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 24
MOST_POINTS = 400
"""Of one line; a longer run is drawn in means of neighbouring steps."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    name: str
    points: Points
    """Place and value, in order; values are finite."""
    tone: int
    """Number of its colour."""
    dots: bool = False
    """Dots joined by nothing, for what is measured now and then."""


@dataclass(frozen=True)
class Chart:
    title: str
    lines: tuple[Line, ...]
    note: str = ""
    low: float | None = None
    """The scale begins here or lower; `high` likewise."""
    high: float | None = None
    stacked: bool = False
    """Areas on top of each other; all lines then have the same places."""
    across: str = "step"
    """What the places count."""


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """Means of runs of neighbours, so that at most `most` are left.

    >>> thinned([(1, 2.0), (2, 4.0), (3, 6.0), (4, 8.0), (5, 1.0)], most=3)
    [(1.5, 3.0), (3.5, 7.0), (5.0, 1.0)]
    """
    run = math.ceil(len(points) / most)
    if run <= 1:
        return points
    pieces = [points[i : i + run] for i in range(0, len(points), run)]
    return [
        (sum(x for x, _ in piece) / len(piece), sum(y for _, y in piece) / len(piece)) for piece in pieces
    ]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers over [low, high]: steps of 1, 2 or 5 times a power of ten, the fewest that are at least `count`.

    >>> ticks(0, 1), ticks(3, 58)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0])

    Values that are equal but for rounding get a scale around them, for a range of nothing has none.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - abs(low) / 2, high + (abs(high) / 2 or 1)
    size = (high - low) / count
    power = 10.0 ** math.floor(math.log10(size))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= size * (1 + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def number(value: float) -> str:
    """A measured value, to three digits.

    >>> number(0.984), number(1234.5), number(99.97), number(0.00012)
    ('0.984', '1,234', '100', '0.00012')
    """
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def exact(value: float) -> str:
    """A round number, with all its digits: a scale's ticks must differ in what they say.

    >>> exact(10.2), exact(0.986), exact(1500.0), exact(2e-13)
    ('10.2', '0.986', '1,500', '2e-13')
    """
    return f"{value:,.12g}"


class Frame:
    """Where a place and a value are drawn."""

    def __init__(self, chart: Chart, lines: Sequence[Line]) -> None:
        places = [x for line in lines for x, _ in line.points]
        values = [y for line in lines for _, y in line.points]
        bounds = [bound for bound in (chart.low, chart.high) if bound is not None]
        self.ticks = ticks(min([*values, *bounds]), max([*values, *bounds]))
        self.first, self.last = min(places), max(places)

    def x(self, place: float) -> float:
        share = (place - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low), 1)

    def axes(self, across: str) -> Iterator[str]:
        for value in self.ticks:
            y = self.y(value)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 3.5}" text-anchor="end">{exact(value)}</text>'
        for place in sorted({self.first, round((self.first + self.last) / 2), self.last}):
            anchor = "end" if place == self.last > self.first else "middle"
            label = f"{across} {exact(place)}" if place == self.last else exact(place)
            yield f'<text x="{self.x(place)}" y="{HEIGHT - 8}" text-anchor="{anchor}">{escape(label)}</text>'


def drawn(chart: Chart) -> str:
    """One figure with its title, legend and note; "" without a point to draw."""
    lines = [
        Line(line.name, thinned(line.points), line.tone, line.dots) for line in chart.lines if line.points
    ]
    if not lines:
        return ""
    heights = piled(lines) if chart.stacked else lines
    frame = Frame(chart, heights)
    marks = (
        [area(frame, heights, place) for place in range(len(lines))]
        if chart.stacked
        else [mark(frame, ln) for ln in lines]
    )
    legend = " ".join(f'<span class="key t{ln.tone}">{escape(ln.name)} <b></b></span>' for ln in lines)
    points = [[[frame.x(x), x, number(y)] for x, y in line.points] for line in lines]
    hover = f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    return "\n".join(
        [
            f'<figure class="chart" data-across="{escape(chart.across)}" data-points="{escape(json.dumps(points))}">',
            f"<figcaption><strong>{escape(chart.title)}</strong><span class=at></span></figcaption>",
            f"<div class=legend>{legend}</div>",
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
            *frame.axes(chart.across),
            *marks,
            f"{hover}</svg>",
            f"<p>{escape(chart.note)}</p>" if chart.note else "",
            "</figure>",
        ]
    )


def mark(frame: Frame, line: Line) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in line.points]
    if line.dots or len(places) == 1:
        return "".join(f'<circle class="t{line.tone}" cx="{x}" cy="{y}" r="3.2"/>' for x, y in places)
    return f'<polyline class="t{line.tone}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>'


def piled(lines: Sequence[Line]) -> list[Line]:
    """Each line on top of those before it."""
    totals = [0.0] * len(lines[0].points)
    found = []
    for line in lines:
        totals = [total + y for total, (_, y) in zip(totals, line.points, strict=True)]
        found.append(
            Line(
                line.name, [(x, total) for (x, _), total in zip(line.points, totals, strict=True)], line.tone
            )
        )
    return found


def area(frame: Frame, heights: Sequence[Line], place: int) -> str:
    """Between a line of `piled` and the one below it."""
    top = [(frame.x(x), frame.y(y)) for x, y in heights[place].points]
    below = heights[place - 1].points if place else [(x, 0.0) for x, _ in heights[place].points]
    bottom = [(frame.x(x), frame.y(y)) for x, y in reversed(below)]
    return f'<polygon class="t{heights[place].tone}" points="{" ".join(f"{x},{y}" for x, y in [*top, *bottom])}"/>'
