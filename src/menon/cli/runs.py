"""`menon runs [FOLDER]`: the runs in a folder, one line each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.cli.plain_json import json_alone, print_json
from menon.cli.show_workers import in_one_line
from menon.cli.words import understand
from menon.errors import UserError, nearest
from menon.printable import printable
from menon.record import disk
from menon.report.differences import value_text
from menon.results import RunLine
from menon.study.listing import listed

USAGE = "runs takes one folder at most: menon runs, or menon runs experiments sort=-after csv=runs.csv"
NO_OPTION = "there is no option {option}; runs takes sort=COLUMN and csv=FILE"
WORDS = ("run", "recipe", "model", "warnings")
"""Columns that are aligned to the left."""
Column = tuple[str, Callable[[RunLine], Any]]
"""The name of a column, and its value in a run; None: not known."""


def runs(words: Sequence[str]) -> int:
    """Lists the runs in a folder, one line each: state, steps, held-out accuracy and reward before and after
    with 95 % intervals over the questions, the last number of training, minutes, and the signs that nothing
    was learned. Settings that are not the same in all runs have columns of their own, except where the name
    of the recipe says it all. Without a folder those in runs/. Below it is what the worker processes of a run
    have to do, or last had to do if it died.

    --json prints the lines as a JSON list and nothing else.
    sort=COLUMN orders the lines, sort=-COLUMN from the largest down; csv=FILE writes them to a file too.
    """
    rest, alone = json_alone(words)
    asked = understand(rest, ("sort",), no_option=NO_OPTION)
    settings = asked.settings
    if len(asked.plain) > 1 or settings.keys() - {"sort", "csv"}:
        raise UserError(USAGE)
    folder = Path(asked.plain[0] if asked.plain else "runs")
    lines = listed(folder)
    columns = columns_of(lines)
    order = asked.options.get("sort", settings.get("sort"))
    lines = in_order(lines, columns, order or "run")
    if file := settings.get("csv"):
        write_csv(Path(file), lines, columns)
    if alone:
        print_json(lines)
        return 0
    for line in aligned([[name for name, _ in columns], *(cells(one, columns) for one in lines)]):
        print(line)
    for one in lines:
        if found := one["heartbeat"]:
            print(printable(in_one_line(one["run"], one["state"], found)))
    return 0


def columns_of(lines: Sequence[RunLine]) -> list[Column]:
    """The columns; those of held-out numbers are left out where no run has them."""
    different = dict.fromkeys(name for one in lines for name in one["differs"])
    found: list[Column] = [
        ("run", lambda one: one["run"]),
        ("recipe", lambda one: one["recipe"]),
        ("model", lambda one: one["model"]),
        ("seed", lambda one: one["seed"]),
        *((name, differing(name)) for name in different),
        ("steps", lambda one: (one["step"], one["steps"])),
        ("state", lambda one: one["state"]),
    ]
    for key in ("accuracy", "reward", "pairs/accuracy", "kto/accuracy", "nll"):
        if any(one["before"].get(key) is not None or one["after"].get(key) is not None for one in lines):
            found += [(key, held_out("before", key)), (f"{key} after", held_out("after", key))]
    return [
        *found,
        ("training", lambda one: one["training"]),
        ("minutes", lambda one: one["minutes"]),
        ("warnings", lambda one: " ".join(one["warnings"]) or None),
    ]


def differing(name: str) -> Callable[[RunLine], Any]:
    """A setting that differs."""
    return lambda one: one["differs"].get(name)


def held_out(when: str, key: str) -> Callable[[RunLine], Any]:
    """A number of an evaluation: (value, low, high, the step if the run has gone on since)."""

    def read(one: RunLine) -> Any:
        numbers: Mapping[str, Any] = one["before"] if when == "before" else one["after"]
        if numbers.get(key) is None:
            return None
        step = one["after_step"] if when == "after" and one["after_step"] != one["step"] else None
        return numbers[key], numbers.get(f"{key}_low"), numbers.get(f"{key}_high"), step

    return read


def cells(one: RunLine, columns: Sequence[Column]) -> list[str]:
    """A run as words."""
    return [cell(name, read(one)) for name, read in columns]


def cell(name: str, value: Any) -> str:
    """A value as words; `-` where it is not known."""
    if value is None:
        return "-"
    if name == "steps":
        return f"{value[0]}/{'?' if value[1] is None else value[1]}"
    if name == "minutes":
        return f"{value:.1f}"
    if name == "training":
        return f"{value[0]} {value[1]:.3f}"
    if not isinstance(value, tuple):
        return value_text(value)
    number, low, high, step = value
    ends = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return f"{number:.3f}{ends}" + (f" at {step}" if step else "")


def in_order(lines: Sequence[RunLine], columns: Sequence[Column], order: str) -> list[RunLine]:
    """The lines by the values of a column; runs without a value come last. UserError: no such column."""
    name = order.removeprefix("-")
    reads = dict(columns)
    if name == "after":  # the number that the runs are judged by
        name = next((one for one in reads if one.endswith(" after")), name)
    if name not in reads:
        raise UserError(f"there is no column '{name}'{nearest(name, reads)}")
    known = [one for one in lines if reads[name](one) is not None]
    known.sort(key=lambda one: sortable(reads[name](one)), reverse=order.startswith("-"))
    return [*known, *(one for one in lines if reads[name](one) is None)]


def sortable(value: Any) -> tuple[bool, Any]:
    """Numbers before words; of several values the first; of the last number of training the number."""
    if isinstance(value, tuple):
        value = value[1] if isinstance(value[0], str) else value[0]
    if isinstance(value, int | float):
        return False, value
    return True, value_text(value)


def write_csv(file: Path, lines: Sequence[RunLine], columns: Sequence[Column]) -> None:
    """Writes the lines as CSV with all digits; an interval has columns of its own."""
    if file.is_dir() or not file.parent.is_dir():
        raise UserError(f"csv is {file}; name a file in a folder that exists")
    rows = [dict(entry for name, read in columns for entry in entries(name, read(one))) for one in lines]
    names = list(dict.fromkeys(name for row in rows for name in row))
    disk.write(file, disk.csv_text([{name: row.get(name) for name in names} for row in rows]).encode())


def entries(name: str, value: Any) -> list[tuple[str, Any]]:
    """The columns of a CSV file that a value fills."""
    if name == "steps":
        return [("step", value[0]), ("steps", value[1])] if value else [("step", None), ("steps", None)]
    if name == "training":
        return [("training", value[1]), ("training of", value[0])] if value else [("training", None)]
    if isinstance(value, tuple):
        return [(name, value[0]), (f"{name} low", value[1]), (f"{name} high", value[2])]
    plain = value is None or isinstance(value, int | float | str)
    return [(name, value if plain and not isinstance(value, bool) else value_text(value))]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, with words aligned to the left and numbers to the right."""
    head = rows[0]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    forms = [f"{{:{'<' if name in WORDS else '>'}{width}}}" for name, width in zip(head, widths, strict=True)]
    return [
        "  ".join(form.format(text) for form, text in zip(forms, row, strict=True)).rstrip() for row in rows
    ]
