"""A disk that fills up: from the n-th write, sync, rename or new folder below a path on, every one fails."""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from menon.record import checkpoint

RUST = "Error while serializing: I/O error: No space left on device (os error 28)"


class Disk:
    """Counts the operations that need room; `full_after` of them still succeed."""

    def __init__(self, below: Path, full_after: float = float("inf")) -> None:
        self.below = str(below)
        self.full_after = full_after
        self.operations = 0

    def takes(self, path: Any) -> bool:
        """False from the moment on that the disk is full."""
        if not str(path).startswith(self.below):
            return True
        self.operations += 1
        return self.operations <= self.full_after

    def full(self) -> OSError:
        return OSError(errno.ENOSPC, "No space left on device")


class HalfWritten:
    """A file that takes the first half of what does not fit."""

    def __init__(self, file: Any, disk: Disk, path: Any) -> None:
        self._file, self._disk, self._path = file, disk, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "HalfWritten":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        if not self._disk.takes(self._path):
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise self._disk.full()
        return self._file.write(data)


@contextmanager
def filling(disk: Disk) -> Iterator[Disk]:
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((os, "fsync"), (os, "replace"), (os, "mkdir"), (os, "symlink")):
            patch.setattr(module, name, _failing(getattr(module, name), disk))
        really_open, really_save = builtins.open, checkpoint.save_file

        def opening(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            handle = really_open(file, mode, *args, **kwargs)
            return (
                HalfWritten(handle, disk, file)
                if isinstance(file, str | Path) and set(mode) & set("wax")
                else handle
            )

        def saving(tensors: Any, file: Any, *args: Any, **kwargs: Any) -> None:
            if not disk.takes(file):
                Path(file).write_bytes(b"half")
                raise SafetensorError(RUST)
            really_save(tensors, file, *args, **kwargs)

        patch.setattr(checkpoint, "save_file", saving)
        patch.setattr(builtins, "open", opening)
        patch.setattr(io, "open", opening)
        yield disk


def _failing(call: Callable[..., Any], disk: Disk) -> Callable[..., Any]:
    def wrapped(path: Any, *args: Any, **kwargs: Any) -> Any:
        name = (
            args[0]
            if call.__name__ == "symlink"
            else os.readlink(f"/proc/self/fd/{path}")
            if isinstance(path, int)
            else path
        )
        if not disk.takes(name):
            raise disk.full()
        return call(path, *args, **kwargs)

    return wrapped
