"""trackio: `PROJECT.db`, an SQLite file with the metrics of a project's runs."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.workbench.peers.names import by_step
from menon.workbench.peers.peer import Line, Peer, numbers_in

MISSING = ("answers and tokens",)


def named(folder: Path) -> str | None:
    return "trackio" if any(runs_in(file) for file in sorted(folder.glob("*.db"))) else None


def read(folder: Path, chosen: str | None = None) -> Peer | None:
    """The run that is `chosen` by its name, or the first. UserError: there is none of this name."""
    files = [file for file in sorted(folder.glob("*.db")) if runs_in(file)]
    names = [(file, *one) for file in files for one in runs_in(file)]
    if not names:
        return None
    taken = [one for one in names if chosen in (None, one[2])]
    if not taken:
        there = ", ".join(name for _, _, name in names)
        raise UserError(f"{folder} has no run {chosen}; run is one of {there}")
    file, run, _ = taken[0]
    faults = [
        f"run {name} of {other.name}; import it with run={name}" for other, one, name in names if one != run
    ]

    def lines() -> list[Line]:
        with opened(file) as database:
            rows = database.execute("SELECT step, metrics FROM metrics WHERE run_id = ? ORDER BY id", (run,))
            found = [(int(step), key, value) for step, text in rows for key, value in numbers(text, faults)]
        return by_step(found)

    def settings() -> dict[str, Any]:
        with opened(file) as database:
            row = database.execute("SELECT config FROM configs WHERE run_id = ?", (run,)).fetchone()
        return json.loads(row[0]) if row else {}

    return Peer("trackio", MISSING, lines=lines, settings=settings, faults=faults)


def numbers(text: Any, faults: list[str]) -> list[tuple[str, float]]:
    try:
        return list(numbers_in(json.loads(text)).items())
    except (ValueError, TypeError, AttributeError):
        faults.append("a row of metrics is no JSON object")
        return []


def runs_in(file: Path) -> list[tuple[str, str]]:
    """(id, name) of the runs of a project; [] for another file."""
    try:
        with opened(file) as database:
            return list(
                database.execute("SELECT run_id, MIN(run_name) FROM metrics GROUP BY run_id ORDER BY MIN(id)")
            )
    except sqlite3.Error:
        return []


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A database that is only read. Where no run writes to it, nothing is made beside it either."""
    written = file.with_name(f"{file.name}-wal").exists()
    how = "mode=ro" if written else "immutable=1"
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?{how}", uri=True)) as database:
        yield database
