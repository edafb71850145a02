"""Writes files so that they are complete or absent even after a crash. Nothing here follows a link when it
writes or deletes: the folder of a run may come from somebody else."""

import csv
import errno
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.errors import UserError

NO_ROOM = "no room left on the disk"
DEPTH = 100
"""How deep a run folder's JSON may be nested; its own is less than 10 deep."""
FULL = (errno.ENOSPC, errno.EDQUOT)


def write(path: Path, data: bytes, sync: bool = True) -> None:
    """Writes to a temporary file, syncs it, and renames it. A failure leaves the old file as it was and
    removes the temporary one.  Without `sync` the file is complete after a kill, but may be empty after a
    power cut.
    """
    aside = temporary(path)
    try:
        with open(own_file(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
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
    aside = temporary(path)
    if not path.is_symlink():
        remove(path)
    try:
        os.symlink(target, aside)
        os.replace(aside, path)
        sync_folder(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def append(path: Path, data: bytes) -> None:
    """Appends to a file and flushes to the system; a failure truncates the file to its old length."""
    descriptor = own_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    size = os.fstat(descriptor).st_size
    try:
        with open(descriptor, "ab") as file:
            file.write(data)
            file.flush()
    except OSError:
        os.truncate(path, size)
        raise


def own_file(path: Path, flags: int) -> int:
    """Opens an ordinary file as a descriptor, for as long as it is one. UserError for a link, a pipe or a
    device in its place."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise foreign(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise foreign(path)
    return descriptor


def own_folder(path: Path) -> Path:
    """Makes a folder where there is none. UserError for a link in its place."""
    path.mkdir(exist_ok=True, parents=True)
    if path.is_symlink():
        raise foreign(path)
    return path


def foreign(path: Path) -> UserError:
    return UserError(
        f"{path} is a link, a pipe or a device, and menon writes and deletes in a run's own folder alone; "
        "put the file or folder itself in its place, or set out= to a new folder"
    )


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all that is in it, if it is there. Links in it are removed and
    not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """A new name beside a file, for what will take its place (`layout.OWN` knows it)."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")


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


def contents(path: Path) -> bytes:
    """The bytes of a file, of none where there is no ordinary file: a pipe would be waited for."""
    return path.read_bytes() if path.is_file() else b""


def read_json(path: Path) -> Any:
    """The value in a JSON file; None if the file is absent or damaged, or nested more than `DEPTH` deep."""
    try:
        value = json.loads(contents(path))
    except (ValueError, RecursionError):
        return None
    return None if deep(value) else value


def deep(value: Any) -> bool:
    """Whether lists and objects in one another are more than `DEPTH` deep, which is more than code that
    descends into them can bear."""
    inner = [value]
    for _ in range(DEPTH):
        lists = [part for part in inner if isinstance(part, list | dict)]
        inner = [item for part in lists for item in (part.values() if isinstance(part, dict) else part)]
        if not inner:
            return False
    return True


def json_line(value: dict[str, Any]) -> bytes:
    """One line of strict JSON: a number that is not finite becomes null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in value.items()}
    return (json.dumps(plain, allow_nan=False) + "\n").encode()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON-lines file up to the first incomplete one (a process that is killed may leave half
    a line)."""
    lines: list[dict[str, Any]] = []
    for line in contents(path).splitlines(keepends=True):
        try:
            value = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or deep(value):
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


def check_place(path: Path, what: str, instead: str) -> Path:
    """The nearest folder at or above a path that is there. UserError if no file can be made in it, before
    anything is computed that could not be written. `what` is the path's use and `instead` what to name in its
    place, as in "the result" and "file"."""
    place = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    try:
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError as error:
        raise UserError(
            f"{what} {path} cannot be written ({cause(error)}); set out= to another {instead}"
        ) from None


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV under the names of the first; empty where nothing is known."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return file.getvalue()
