"""The page of several runs: their curves over each other, with a band over the seeds of each arm."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from menon.record import disk
from menon.report.charts import TONES_IN_TURN, Axis, Band, Chart, Line, Points, figure
from menon.report.curves import (
    ACCURACY_NOTE,
    CLIP_NOTE,
    ENTROPY_NOTE,
    GRADIENT_NOTE,
    GROUPS_NOTE,
    KL_NOTE,
    LENGTHS_OF_ALL,
    SHARE,
    SPEED_NOTE,
    Lines,
    series,
    speed,
)
from menon.report.page import document
from menon.report.sections import safe

Recorded = tuple[Lines, Lines]
"""The metrics and the evaluations of a run."""


@dataclass(frozen=True)
class Arm:
    """Runs of one configuration with different seeds."""

    name: str
    runs: Sequence[Recorded]


@dataclass(frozen=True)
class Table:
    """A table in words; the first column holds names."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> list[str]:
        """The lines of a Markdown table.

        >>> Table(("arm", "n"), [("a|b", "1")]).markdown()
        ['| arm | n |', '| -- | --: |', '| a\\\\|b | 1 |']
        """
        rows = [
            [cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (self.head, *self.rows)
        ]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return [lines[0], f"| -- | {' | '.join(['--:'] * (len(self.head) - 1))} |", *lines[1:]]

    def aligned(self) -> list[str]:
        """The lines of a table for a terminal."""
        rows = [self.head, *self.rows]
        widths = [max(len(row[place]) for row in rows) for place in range(len(self.head))]
        return [
            "  ".join(
                f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]

    def html(self) -> str:
        """The table as HTML, which scrolls within itself; every cell is escaped."""
        head = "".join(f"<th>{safe(cell)}" for cell in self.head)
        rows = "".join(f"<tr>{''.join(map(self.cell, self.head, row))}</tr>" for row in self.rows)
        table = f'<table class="stack"><thead><tr>{head}</tr></thead>{rows}</table>'
        return f'<div class="wide-table">{table}</div>'

    @staticmethod
    def cell(name: str, text: str) -> str:
        """A cell, with the name of its column for narrow screens."""
        return f'<td data-column="{safe(name)}">{safe(text)}'


@dataclass(frozen=True)
class Several:
    """The contents of the page."""

    title: str
    arms: tuple[Arm, ...]
    tables: tuple[tuple[str, Table, str], ...]
    """Heading, table, and the note below it."""
    notes: tuple[str, ...] = ()
    """What a reader must know before the numbers."""


@dataclass(frozen=True)
class Curve:
    """A quantity that is drawn for each arm."""

    title: str
    read: Callable[[Recorded], Points]
    """Steps and values in one run."""
    axis: Axis = field(default_factory=Axis)
    note: str = ""


def training(name: str) -> Callable[[Recorded], Points]:
    """A metric of the steps."""
    return lambda run: series(run[0], name)


def evaluated(name: str) -> Callable[[Recorded], Points]:
    """A number of the evaluations."""
    return lambda run: series(run[1], name)


CURVES = (
    Curve("Accuracy, held out", evaluated("accuracy"), SHARE, ACCURACY_NOTE),
    Curve("Reward, held out", evaluated("reward"), note="What the grader gives to an answer, on average."),
    Curve("Accuracy in training", training("acc/mean"), SHARE, ACCURACY_NOTE),
    Curve(
        "Reward in training", training("reward/mean"), note="What the grader gives to an answer, on average."
    ),
    Curve("Length", training("len/mean"), Axis(unit="tokens", low=0), LENGTHS_OF_ALL),
    Curve("Entropy", training("entropy/mean"), Axis(unit="nats", low=0), ENTROPY_NOTE),
    Curve("Groups whose rewards differ", training("groups/varied"), SHARE, GROUPS_NOTE),
    Curve("Clipped tokens", training("clip/frac"), Axis(low=0), CLIP_NOTE),
    Curve("KL to the reference", training("kl/seq"), Axis(unit="nats"), KL_NOTE),
    Curve("Gradient norm", training("grad_norm"), Axis(low=0), GRADIENT_NOTE),
    Curve("Speed", lambda run: speed(run[0]), Axis(unit="tokens a second", low=0), SPEED_NOTE),
)


def chart(curve: Curve, arms: Sequence[Arm]) -> Chart:
    """A line for each arm: the mean over its runs, at steps that all of them have, with the range from the
    lowest run to the highest as a band."""
    lines, bands = [], []
    for place, arm in enumerate(arms):
        tone = TONES_IN_TURN[place % len(TONES_IN_TURN)]
        runs = [dict(curve.read(run)) for run in arm.runs]
        drawn = [run for run in runs if run]
        steps = sorted(set.intersection(*map(set, drawn))) if drawn else []
        values = [[run[step] for run in drawn] for step in steps]
        points = [(step, mean(at)) for step, at in zip(steps, values, strict=True)]
        name = arm.name if len(drawn) < 2 else f"{arm.name} ({len(drawn)} runs)"
        lines.append(Line(name, points, tone, dashed=place >= len(TONES_IN_TURN)))
        if len(drawn) > 1:
            ends = [(step, min(at), max(at)) for step, at in zip(steps, values, strict=True)]
            bands.append(Band("", ends, tone))
    return Chart(curve.title, tuple(lines), curve.note, curve.axis, bands=tuple(bands))


def body(content: Several) -> Iterator[str]:
    """The pieces of the page, in order."""
    count = sum(len(arm.runs) for arm in content.arms)
    yield f"<h1>{safe(content.title)}</h1>"
    yield f'<p class="quiet">{count} runs in {len(content.arms)} arms</p>'
    for note in content.notes:
        yield f'<p class="warning">{safe(note)}</p>'
    for place, (heading, table, note) in enumerate(content.tables):
        yield f"<h2>{heading}</h2>"
        yield f'<p class="quiet">{safe(note)}</p>' if note else ""
        yield table.html()
        if place == 0:
            yield from drawings(content.arms)


def drawings(arms: Sequence[Arm]) -> Iterator[str]:
    """The charts."""
    banded = any(len(arm.runs) > 1 for arm in arms)
    over = " Lines are means over seeds, bands reach from the lowest run to the highest." if banded else ""
    yield f'<h2>Curves</h2><p class="quiet">Each point is a step that all runs of an arm have.{over}</p>'
    figures = [figure(chart(curve, arms)) for curve in CURVES]
    yield f'<div class="grid-of">{"".join(figures)}</div>'


def write(file: Path, content: Several) -> None:
    """Writes the page."""
    disk.write(file, document(content.title, "\n".join(body(content))).encode("utf-8", "replace"))
