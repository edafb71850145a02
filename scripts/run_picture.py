"""Draws docs/run.svg, the picture in the README: what `menon train out=runs/first` shows on a terminal.

python scripts/run_picture.py [key=value ...]  # the run itself takes some minutes; out= is a temporary folder
"""

import io
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from menon.assembly.run import start
from menon.report.terminal import Live
from menon.settings import override
from menon.types import Graded, StepReport

PICTURE = Path(__file__).parents[1] / "docs" / "run.svg"
COMMAND, FOLDER = "menon train out=runs/first", Path("runs/first")
WIDTH, SAMPLES = 78, 2


class Still:
    """In place of the bar, which is gone when a run has ended."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def update(self, renderable: Any) -> None: ...


class Drawn(Live):
    """A terminal that is recorded: the first samples, and the end."""

    def __init__(self, header: Mapping[str, str]) -> None:
        super().__init__(header, io.StringIO())
        self.console = Console(
            file=self.stream, record=True, width=WIDTH, force_terminal=True, color_system="truecolor"
        )
        self.console._highlight = False
        self.live: Any = Still()
        self.shown = 0
        self.console.print(Text.assemble(("$ ", "green"), (COMMAND, "bold green")))

    def started(self, folder: Path, first_step: int, steps: int) -> None:
        super().started(FOLDER, first_step, steps)

    def sample(self, report: StepReport, graded: Graded) -> None:
        self.shown += 1
        if self.shown <= SAMPLES:
            super().sample(report, graded)
        elif self.shown == SAMPLES + 1:
            self.say("  ...\n")


def draw(settings: Mapping[str, Any], picture: Path) -> None:
    """Makes a run and writes its picture."""
    drawn: list[Drawn] = []

    def show(header: Mapping[str, str]) -> Drawn:
        drawn.append(Drawn(header))
        return drawn[0]

    with tempfile.TemporaryDirectory() as folder:
        start(None, [dict(settings) | {"out": f"{folder}/first"}], show)
    cores = len(os.sched_getaffinity(0))
    title = f"menon train, on {cores} CPU core{'s' if cores > 1 else ''}"
    picture.write_text(drawn[0].console.export_svg(title=title, unique_id="menon"), encoding="utf-8")


def main(words: Sequence[str]) -> None:
    draw(dict(map(override, words)), PICTURE)


if __name__ == "__main__":
    main(sys.argv[1:])
