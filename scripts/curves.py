"""Draws accuracy by step from run folders: one SVG per recipe, one line per seed.

    python scripts/curves.py FOLDER [docs/algorithms/curves]

FOLDER holds runs by the names RECIPE-SEED, as `benchmarks/presets.py` leaves them. A line is the training accuracy of each step's
answers (`acc/mean`); a dot is the accuracy on held-out questions, where it was measured.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from menon.recipes import RECIPES
from menon.record.reader import RunView

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 220, 40, 30, 34
COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#8e6c8a", "#b08900")
Line = list[tuple[int, float]]
Place = Callable[[int, float], tuple[float, float]]
"""Step and accuracy -> where that is drawn."""


def read(rows: Sequence[Mapping[str, Any]], name: str) -> Line:
    return [(row["step"], row[name]) for row in rows if row.get(name) is not None]


def runs(folder: Path) -> dict[str, dict[int, tuple[Line, Line]]]:
    """Recipe -> seed -> (training accuracy, held-out accuracy) by step, of the runs that have come to an end."""
    found: dict[str, dict[int, tuple[Line, Line]]] = defaultdict(dict)
    for view in map(RunView, sorted(folder.iterdir())):
        recipe, _, seed = view.path.name.rpartition("-")
        line = read(view.metrics, "acc/mean") if view.report is not None else []
        if recipe in RECIPES and seed.isdigit() and line:
            found[recipe][int(seed)] = (line, read(view.evaluations, "accuracy"))
    return dict(found)


def drawn(title: str, lines: Mapping[int, tuple[Line, Line]]) -> str:
    last = max(step for line, dots in lines.values() for step, _ in [*line, *dots])

    def place(step: int, accuracy: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - 16) * step / last
        return round(across, 1), round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - accuracy), 1)

    body = [*axes(last, place), *marks(lines, place)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    words = f'font-family="sans-serif" font-size="11" role="img" aria-label="{escape(title)}"'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/><text x="{LEFT}" y="16" fill="#222">{escape(title)}</text>'
    return "\n".join([f"{head} {words}>", ground, *body, "</svg>"]) + "\n"


def axes(last: int, place: Place) -> Iterable[str]:
    for accuracy in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = place(0, accuracy)
        yield f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end" fill="#555">{accuracy:g}</text>'
    for step in sorted({0, last // 2, last}):
        x, y = place(step, 0)
        yield f'<text x="{x}" y="{y + 15}" text-anchor="middle" fill="#555">{step}</text>'
    yield f'<text x="{(LEFT + WIDTH - 16) / 2}" y="{HEIGHT - 5}" text-anchor="middle" fill="#555">step</text>'


def marks(lines: Mapping[int, tuple[Line, Line]], place: Place) -> Iterable[str]:
    for number, (seed, (line, dots)) in enumerate(sorted(lines.items())):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(",".join(map(str, place(step, accuracy))) for step, accuracy in line)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        for step, accuracy in dots:
            x, y = place(step, accuracy)
            yield f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
        yield f'<text x="{WIDTH - 70 * (len(lines) - number)}" y="16" fill="{colour}">seed {seed}</text>'


def main() -> None:
    folder = Path(sys.argv[1])
    to = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parents[1] / "docs" / "algorithms" / "curves")
    to.mkdir(parents=True, exist_ok=True)
    for recipe, lines in runs(folder).items():
        (to / f"{recipe}.svg").write_text(drawn(f"{recipe}: accuracy on chain_sum", lines), encoding="utf-8")
        print(f"{recipe}: {len(lines)} seed{'s' * (len(lines) > 1)}")


if __name__ == "__main__":
    main()
