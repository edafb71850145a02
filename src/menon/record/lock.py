"""One run at a time in one folder."""

import fcntl
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from menon.errors import UserError
from menon.record import disk


class Lock:
    """A lock that is held from construction to `close`; the system releases it when the process dies, in any
    way.

    A forked child (a pool of graders) must not keep it alive after its parent was killed, so it closes its
    copy at once.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(disk.own_file(path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0)  # noqa: SIM115
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read(20).decode(errors="replace") or "unknown"
            self._file.close()
            raise UserError(
                f"another run (process {owner}) is writing to {path.parent}; wait until it ends, or start a "
                "run of its own with out= another folder"
            ) from None
        with suppress(
            OSError
        ):  # the process id only helps the message; a full disk will be noticed elsewhere
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
        os.register_at_fork(after_in_child=_closer(weakref.ref(self._file)))

    def close(self) -> None:
        if not self._file.closed:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()


def held(path: Path) -> bool:
    """Whether a process holds the lock now."""
    try:
        with open(disk.own_file(path, os.O_RDONLY), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, UserError):
        return False
    except BlockingIOError:
        return True
    return False


def _closer(file: "weakref.ref[BinaryIO]") -> Callable[[], None]:
    """A function that closes a file if it still exists. It does not unlock it, because that would unlock it
    for the parent too."""

    def close() -> None:
        if open_file := file():
            open_file.close()

    return close
