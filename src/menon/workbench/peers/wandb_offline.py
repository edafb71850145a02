"""Weights & Biases offline: `wandb/offline-run-*/run-*.wandb`, the history in it."""

import json
import struct
from pathlib import Path
from typing import Any

from menon.workbench.peers.names import by_step
from menon.workbench.peers.peer import Line, Peer, within
from menon.workbench.peers.wire import fields, leveldb_records, signed

MISSING = ("answers and tokens",)
HEADER = b":W&B"
HISTORY, RUN = 2, 17
"""Fields of a record."""


def named(folder: Path) -> str | None:
    return "Weights & Biases" if within(folder, "run-*.wandb", 1) else None


def read(folder: Path) -> Peer | None:
    files = sorted(folder.glob("run-*.wandb")) or sorted(folder.glob("**/*run-*/run-*.wandb"))
    if not files:
        return None
    faults = [f"{other.parent} is another run; import it by itself" for other in files[1:]]

    def lines() -> list[Line]:
        return by_step(history(files[0], faults))

    return Peer("Weights & Biases", MISSING, lines=lines, settings=lambda: config(files[0]), faults=faults)


def records(file: Path) -> list[dict[int, Any]]:
    data = file.read_bytes()
    if not data.startswith(HEADER):
        return []
    found = []
    for record in leveldb_records(data):
        try:
            found.append(dict(fields(record)))
        except ValueError:
            continue
    return found


def history(file: Path, faults: list[str]) -> list[tuple[int, str, float]]:
    """(step, name, value) of every number that was logged."""
    found = []
    for record in records(file):
        if HISTORY not in record:
            continue
        try:
            items = list(fields(record[HISTORY]))
            values = dict(item_of(value) for number, value in items if number == 1)
            at = next((dict(fields(value)) for number, value in items if number == 2), {})
        except (ValueError, struct.error):
            faults.append(f"{file.name}: a record that cannot be read")
            continue
        step = int(values.pop("_step", signed(at.get(1, 0))))
        found += [
            (step, name, float(value))
            for name, value in values.items()
            if isinstance(value, int | float) and not name.startswith("_")
        ]
    return found


def config(file: Path) -> dict[str, Any]:
    """The configuration that the run began with."""
    run = next((dict(fields(record[RUN])) for record in records(file) if RUN in record), {})
    items = fields(run[4]) if 4 in run else ()
    return dict(item_of(value) for number, value in items if number == 1)


def item_of(data: bytes) -> tuple[str, Any]:
    """The name of an item, and its value: a number by its kind, or JSON."""
    names: list[str] = []
    value: Any = None
    for number, part in fields(data):
        if number in (1, 2):
            names.append(part.decode("utf-8", "replace"))
        elif number == 4:
            value = bool(part)
        elif number == 5:
            value = signed(part)
        elif number == 6:
            value = struct.unpack("<d", part)[0]
        elif number in (7, 8, 16):
            text = part.decode("utf-8", "replace")
            try:
                value = text if number == 7 else json.loads(text)
            except ValueError:
                value = text
    return "/".join(filter(None, names)), value
