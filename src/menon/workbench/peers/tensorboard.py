"""TensorBoard: `events.out.tfevents.*`, the scalars in them. One run for each folder with such files."""

import struct
from pathlib import Path
from typing import Any

from menon.workbench.peers.names import by_step
from menon.workbench.peers.peer import Line, Peer, within
from menon.workbench.peers.wire import fields, signed, tfrecords

MISSING = ("answers and tokens",)
FLOAT, DOUBLE = 1, 2
"""Kinds of numbers of a tensor."""


NAME = "events.out.tfevents.*"


def named(folder: Path) -> str | None:
    return "TensorBoard" if within(folder, NAME, 1) else None


def read(folder: Path) -> Peer | None:
    files = sorted(folder.glob(NAME))
    if not files:
        near = sorted({file.parent for file in folder.glob(f"**/{NAME}")})
        files = sorted(near[0].glob(NAME)) if near else []
        others = [str(one) for one in near[1:]]
    else:
        others = []
    if not files:
        return None
    faults = [f"{one} is another run; import it by itself" for one in others]

    def lines() -> list[Line]:
        found = [scalar for file in files for scalar in scalars(file, faults)]
        return by_step(found)

    return Peer("TensorBoard", MISSING, lines=lines, faults=faults)


def scalars(file: Path, faults: list[str]) -> list[tuple[int, str, float]]:
    """(step, name, value) of every scalar of a file."""
    found = []
    for record in tfrecords(file.read_bytes()):
        try:
            event = dict(fields(record))
            step = signed(event.get(2, 0))
            values = [value for number, value in fields(event.get(5, b"")) if number == 1]
            for value in values:
                entry = dict(fields(value))
                if (number := scalar_of(entry)) is not None and 1 in entry:
                    found.append((step, entry[1].decode("utf-8", "replace"), number))
        except (ValueError, TypeError, AttributeError, struct.error):
            faults.append(f"{file.name}: a record that cannot be read")
    return found


def scalar_of(entry: dict[int, Any]) -> float | None:
    """The number of an entry: a simple value, or a tensor of one number."""
    if isinstance(simple := entry.get(2), bytes):
        return float(struct.unpack("<f", simple)[0])
    tensor = dict(fields(entry[8])) if isinstance(entry.get(8), bytes) else {}
    kind, content = tensor.get(1), tensor.get(4) or tensor.get(5) or tensor.get(6) or b""
    if kind == FLOAT and len(content) == 4:
        return float(struct.unpack("<f", content)[0])
    if kind == DOUBLE and len(content) == 8:
        return float(struct.unpack("<d", content)[0])
    return None
