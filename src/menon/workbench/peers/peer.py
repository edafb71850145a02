"""What a reader gives of a folder that another library wrote."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

NAN = float("nan")
LEVELS = 3
"""Folders below one in which `within` looks: trackers nest their runs so deep."""
MOST_ENTRIES = 5000
"""Entries of folders that `within` looks at."""
Line = dict[str, Any]
"""Numbers of a step, by their names, with `step`."""


@dataclass(frozen=True)
class Answer:
    """One answer, as far as a dump has it."""

    prompt: str = ""
    completion: str = ""
    group: int = 0
    sample: int = 0
    score: float = NAN
    gold: str | None = None
    finish: str | None = None
    """stop, length or abort; None where the dump does not say."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Named parts of the reward, and other numbers of the answer."""
    advantage: float | None = None
    """Where a dump has one for the whole answer, and none for its tokens."""
    tokens: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Columns of its tokens, under the names of a transcript: tokens, is_action, behaviour_logp, ..."""


@dataclass(frozen=True)
class Peer:
    """A folder of another library's. The functions are called when what they give is needed."""

    kind: str
    """The library, as it is written."""
    missing: tuple[str, ...]
    """What the format does not hold, in words."""
    steps: Sequence[int] = ()
    """Steps with answers."""
    answers: Callable[[int], list[Answer]] = lambda step: []
    lines: Callable[[], list[Line]] = list
    """Numbers that the library recorded itself, one line for each step, in order."""
    settings: Callable[[], dict[str, Any]] = dict
    """What it says of its configuration."""
    faults: list[str] = field(default_factory=list)
    """What could not be read, in words; it grows as files are read."""


def lines_in(file: Path, faults: list[str]) -> Iterator[Any]:
    """The objects of a JSON-lines file; a line that is none is left out and named in `faults`."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            if isinstance(found, dict):
                yield found
            else:
                faults.append(f"{file.name}, line {number}: no JSON object")


def first_line(file: Path) -> dict[str, Any]:
    """The first object of a JSON-lines file; {} if there is none."""
    try:
        return next(lines_in(file, []), {})
    except OSError:
        return {}


def within(folder: Path, pattern: str, most: int) -> list[Path]:
    """The first files of a name in a folder and at most `LEVELS` below it, nearer ones first. It looks at
    `MOST_ENTRIES` entries, so a large tree of other files takes no longer."""
    found: list[Path] = []
    level, seen = [folder], 0
    for _ in range(LEVELS + 1):
        below: list[Path] = []
        for place in level:
            try:
                entries = sorted(os.scandir(place), key=lambda one: one.name)
            except OSError:
                continue
            for entry in entries[: MOST_ENTRIES - seen]:
                if entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
                elif fnmatchcase(entry.name, pattern):
                    found.append(Path(entry.path))
            seen += len(entries)
            if len(found) >= most or seen >= MOST_ENTRIES:
                return found[:most]
        level = below
    return found


def numbered(files: Sequence[Path], number: Callable[[Path], int | None]) -> dict[int, Path]:
    """Step -> file, in order, of the files whose name has a number."""
    found = {step: file for file in files if (step := number(file)) is not None}
    return dict(sorted(found.items()))


def grouped(names: Sequence[Any]) -> list[tuple[int, int]]:
    """(group, sample) of answers, from what they have in common, such as the prompt: groups are numbered as
    they come.

    >>> grouped(["a", "a", "b", "a"])
    [(0, 0), (0, 1), (1, 0), (0, 2)]
    """
    groups: dict[Any, int] = {}
    counts: dict[int, int] = {}
    found = []
    for name in names:
        group = groups.setdefault(name, len(groups))
        found.append((group, counts.get(group, 0)))
        counts[group] = found[-1][1] + 1
    return found


def number_of(value: Any) -> float:
    """A number as a float; NaN for anything else."""
    return float(value) if isinstance(value, int | float) else NAN


def numbers_in(values: Mapping[str, Any]) -> dict[str, float]:
    """The entries that are numbers."""
    return {str(name): float(value) for name, value in values.items() if isinstance(value, int | float)}


def text_of(message: Any) -> str:
    """A message, or a list of them, as text, each with its role in front; other parts are named."""
    if isinstance(message, str):
        return message
    if isinstance(message, list):
        return "\n".join(text_of(one) for one in message)
    if not isinstance(message, dict):
        return "" if message is None else str(message)
    if "role" in message:
        calls = "".join(f"\n{json.dumps(call)}" for call in message.get("tool_calls") or ())
        return f"{message['role']}: {text_of(message.get('content'))}{calls}"
    return str(message["text"]) if "text" in message else f"[{message.get('type', 'part')}]"
