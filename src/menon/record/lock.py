"""One run at a time in one folder."""

import fcntl
import os
import weakref
from collections.abc import Callable
from pathlib import Path

from menon.errors import UserError


class Lock:
    """Held from construction to `close`; the system lets go of it when the process dies, however it dies.

    A forked child (a pool of graders) must not keep it alive after its parent was killed, so it closes its copy at once.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+")  # noqa: SIM115
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            raise UserError(
                f"another run (process {owner}) is writing to {path.parent}; wait for it or set out= to another folder"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        os.register_at_fork(after_in_child=_closer(weakref.ref(self)))

    def close(self) -> None:
        self._file.close()


def _closer(lock: "weakref.ref[Lock]") -> Callable[[], None]:
    def close() -> None:
        if held := lock():
            held.close()

    return close
