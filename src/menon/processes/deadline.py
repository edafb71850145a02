"""Calls into code that may hang (a server, a user's environment), each in a thread that can be abandoned."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Late(Exception):
    """A call has not come back in time."""


class Call(Generic[T]):
    """A call of `function(*args)` in a thread; it starts at once, or when the semaphore `room` has a place.

    A thread cannot be killed. One that hangs keeps running and keeps its memory, but gives back its place in
    `room`. It is a daemon thread, so it does not keep the program from ending.
    """

    def __init__(
        self, function: Callable[..., T], *args: Any, room: threading.Semaphore | None = None
    ) -> None:
        self._call = (function, args)
        self._room = room
        self._started, self._done = threading.Event(), threading.Event()
        self._left = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        if self._room is not None:
            self._room.acquire()
        self._started.set()
        function, args = self._call
        try:
            self._value: T = function(*args)
            self._error: BaseException | None = None
        except (
            BaseException
        ) as error:  # sys.exit in foreign code must not end a run; `result` raises it where it is awaited
            self._error = error
        with self._lock:
            self._done.set()
            if not self._left:
                self._give_room()

    def _give_room(self) -> None:
        if self._room is not None:
            self._room.release()

    def result(self, limit: float | None = None) -> T:
        """What the function returned or raised; `Late` if it takes more than `limit` seconds from its
        start."""
        self._started.wait()
        if not self._done.wait(limit):
            with self._lock:
                late = not self._done.is_set()
                if late and not self._left:
                    self._left = True
                    self._give_room()
            if late:
                raise Late(f"took longer than {limit:g} s")
        if self._error is not None:
            raise self._error
        return self._value
