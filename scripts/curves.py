"""Draws accuracy by step from run folders: one SVG per recipe, one line per seed.

    python scripts/curves.py FOLDER [docs/algorithms/curves]

FOLDER holds runs by the names RECIPE-SEED, as `benchmarks/presets.py` leaves them. A line is the training
accuracy of each step's answers (`acc/mean`); a dot is the accuracy on held-out questions, where it was
measured.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from menon.recipes import RECIPES
from menon.record.reader import RunView
from menon.report.charts import TONES_IN_TURN, Axis, Chart, Line, picture

Points = list[tuple[int, float]]
"""Step and accuracy."""


def read(rows: Sequence[Mapping[str, Any]], name: str) -> Points:
    return [(row["step"], row[name]) for row in rows if row.get(name) is not None]


def runs(folder: Path) -> dict[str, dict[int, tuple[Points, Points]]]:
    """Recipe -> seed -> (training accuracy, held-out accuracy) by step, of the runs that have come to an
    end."""
    found: dict[str, dict[int, tuple[Points, Points]]] = defaultdict(dict)
    for view in map(RunView, sorted(folder.iterdir())):
        recipe, _, seed = view.path.name.rpartition("-")
        line = read(view.metrics, "acc/mean") if view.report is not None else []
        if recipe in RECIPES and seed.isdigit() and line:
            found[recipe][int(seed)] = (line, read(view.evaluations, "accuracy"))
    return dict(found)


def chart(recipe: str, runs: Mapping[int, tuple[Points, Points]]) -> Chart:
    """One line per seed from step 0 on, and dots of the same colour where held-out questions were asked."""
    lines: list[Line] = []
    for tone, (seed, (training, held_out)) in zip(cycle(TONES_IN_TURN), sorted(runs.items()), strict=False):
        lines.append(Line(f"seed {seed}", training, tone))
        lines.append(Line(f"seed {seed}, held out", held_out, tone, dots=True))
    up, across = Axis(low=0, high=1), Axis("step", low=0)
    return Chart(f"{recipe}: accuracy on chain_sum", tuple(lines), up=up, across=across)


def main() -> None:
    folder = Path(sys.argv[1])
    to = Path(
        sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parents[1] / "docs" / "algorithms" / "curves"
    )
    to.mkdir(parents=True, exist_ok=True)
    for recipe, lines in runs(folder).items():
        (to / f"{recipe}.svg").write_text(picture(chart(recipe, lines)), encoding="utf-8")
        print(f"{recipe}: {len(lines)} seed{'s' * (len(lines) > 1)}")


if __name__ == "__main__":
    main()
