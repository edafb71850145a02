"""Writes files so that they are complete or absent even after a crash."""

import csv
import errno
import io
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NO_ROOM = "no room left on the disk"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write(path: Path, data: bytes, sync: bool = True) -> None:
    """Writes to a temporary file, syncs it, and renames it. A failure leaves the old file as it was and
    removes the temporary one.  Without `sync` the file is complete after a kill, but may be empty after a
    power cut.
    """
    aside = path.with_name(path.name + ".tmp")
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(aside, path)
        if sync:
            sync_folder(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def link(path: Path, target: str) -> None:
    """Points a symbolic link at a file or folder beside it, atomically.  A folder of that name, as a copy
    that follows links leaves it, is removed.
    """
    aside = path.with_name(path.name + ".tmp")
    aside.unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    try:
        os.symlink(target, aside)
        os.replace(aside, path)
        sync_folder(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def append(path: Path, data: bytes) -> None:
    """Appends to a file and flushes to the system; a failure truncates the file to its old length."""
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab") as file:
            file.write(data)
            file.flush()
    except OSError:
        if path.exists():
            os.truncate(path, size)
        raise


def sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable: a rename survives a power cut only after its folder is synced."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, sync: bool = True) -> None:
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode(), sync)


def read_json(path: Path) -> Any:
    """The value in a JSON file; None if the file is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def json_line(value: dict[str, Any]) -> bytes:
    """One line of strict JSON: a number that is not finite becomes null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in value.items()}
    return (json.dumps(plain, allow_nan=False) + "\n").encode()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file up to the first incomplete one (a process that is killed may leave half
    a line)."""
    lines: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            value = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            break
        lines.append(value)
    return lines


def cause(error: BaseException) -> str | None:
    """What the system said when a write failed, or None if the error is of another kind.

    The Rust libraries (safetensors, tokenizers) raise their own types and carry the number of the error in
    the text alone.
    """
    if isinstance(error, OSError) and error.errno is not None:
        number = error.errno
    elif found := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(found[1])
    else:
        return None
    return NO_ROOM if number in FULL else os.strerror(number).lower()


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV under the names of the first; empty where nothing is known."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return file.getvalue()
