"""`menon runs [FOLDER]`: the runs in a folder, one line each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.cli.words import understand
from menon.errors import UserError
from menon.record.beside import interval_of
from menon.settings import setting

HEAD = (
    *("run", "recipe", "model", "steps", "state", "accuracy", "after"),
    *("reward", "after", "minutes", "warnings"),
)
LEFT = (0, 1, 2, len(HEAD) - 1)
"""Columns of words."""


def runs(words: Sequence[str]) -> int:
    """Lists the runs in a folder, one line each: state, steps, held-out accuracy and reward before and after
    with their 95 % intervals, minutes, and the signs that nothing was learned. Without a folder those in
    runs/."""
    usage = "runs takes one folder at most: menon runs, or menon runs experiments"
    found = understand(words, no_option=usage)
    if len(found.plain) > 1 or found.overrides:
        raise UserError(usage)
    folder = Path(found.plain[0] if found.plain else "runs")
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; runs are in runs/ unless out= names another place")
    from menon.record.layout import runs_in

    paths = runs_in(folder)
    if not paths:
        raise UserError(f"{folder} holds no runs (no folder with a run.json); start one with menon train")
    for line in aligned([HEAD, *map(row_of, paths)]):
        print(line)
    return 0


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, with words aligned to the left and numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    forms = [f"{{:{'<' if place in LEFT else '>'}{width}}}" for place, width in enumerate(widths)]
    return ["  ".join(form.format(cell) for form, cell in zip(forms, row, strict=True)) for row in rows]


def row_of(path: Path) -> tuple[str, ...]:
    """The cells of one run. State "damaged": the run.json cannot be read; "newer": a later menon wrote the
    folder."""
    from menon.record.reader import NewerFormat, RunView

    try:
        view = RunView.open(path)
    except UserError as error:
        state = "newer" if isinstance(error, NewerFormat) else "damaged"
        return path.name, "-", "-", "-", state, *["-"] * (len(HEAD) - 5)
    first = view.evaluation(0)
    last = next((line for line in reversed(view.evaluations) if line["step"] > 0), None)
    return (
        path.name,
        str(setting(view.settings, "recipe") or "-"),
        str(setting(view.settings, "model") or "-"),
        f"{view.steps}/{setting(view.settings, 'steps', '?')}",
        view.state,
        *(
            cell
            for key in ("accuracy" if view.accuracy_known else "", "reward")
            for cell in (number(first, key), number(last, key, view.steps))
        ),
        f"{view.wall_s / 60:.1f}",
        " ".join(dict.fromkeys(event["sign"] for event in view.events if event["kind"] == "warned")) or "-",
    )


def number(line: Mapping[str, Any] | None, key: str, steps: int | None = None) -> str:
    """A number of an evaluation as a cell, with its interval, and with its step if the run has gone on since;
    `-` if there is none."""
    if line is None or line.get(key) is None:
        return "-"
    ends = interval_of(line, key)
    when = "" if steps is None or line["step"] == steps else f"@{line['step']}"
    return f"{line[key]:.3f}" + (f"[{ends[0]},{ends[1]}]" if ends else "") + when
