"""Writing in a thread beside the one that learns."""

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

BEAT = 5.0
"""Seconds after which one who waits looks whether the thread still lives."""
STOP_LIMIT = 600.0
"""Most seconds that a stream may take to end after it was aborted: one decoding step, and what a sampler in
another process needs to answer."""


class Beside(Protocol):
    """Where the writing runs: in a thread, or on a simulated clock."""

    error: BaseException | None
    """What ended the writing early."""

    def start(self, work: Iterator[None]) -> None:
        """Begins to go through `work`, which yields whenever something was written."""
        ...

    def until(self, ready: Callable[[], bool]) -> None:
        """Returns when it is ready. The error of the work if it ends before."""
        ...

    def stop(self, abort: Callable[[], bool]) -> None:
        """Returns when no work is going on. `abort` asks it to end, and says whether it can be asked; if not,
        its end is waited for. An error of the work stays in `error`."""
        ...


class InThread:
    """One thread for each stretch of work. It is a daemon, so a sampler that hangs does not keep the process
    alive."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def start(self, work: Iterator[None]) -> None:
        self._thread = threading.Thread(target=self._run, args=(work,), name="menon-writer", daemon=True)
        self._thread.start()

    def _run(self, work: Iterator[None]) -> None:
        try:
            for _ in work:
                with self._changed:
                    self._changed.notify_all()
        except BaseException as error:
            self.error = error
        finally:
            with self._changed:
                self._changed.notify_all()

    def until(self, ready: Callable[[], bool]) -> None:
        with self._changed:
            while not ready():
                if self._thread is None or not self._thread.is_alive():
                    if ready():  # its last step was written after the first look
                        return
                    raise self.error or RuntimeError("the writing ended before its step was whole")
                self._changed.wait(BEAT)

    def stop(self, abort: Callable[[], bool]) -> None:
        if self._thread is None:
            return
        limit = STOP_LIMIT if self._thread.is_alive() and abort() else None
        self._thread.join(limit)
        if self._thread.is_alive():
            raise RuntimeError(
                f"the sampler did not stop within {limit:g} s after it was asked to; the run ends, so that "
                "no weights change under its text"
            )
        self._thread = None
