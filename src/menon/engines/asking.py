"""What streams to engines elsewhere have in common: requests that are given at once, or read by a thread."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from queue import SimpleQueue
from typing import Generic, Self, TypeVar

from menon.types import Request

E = TypeVar("E")


class Asking(ABC, Generic[E]):
    """The half of a `rollout.protocols.Stream` that takes requests. An iterable that is no sequence may wait
    for something, such as the reward of earlier answers, so a thread of its own reads it."""

    def __init__(self) -> None:
        self.events: SimpleQueue[E | BaseException | None] = SimpleQueue()
        """What the stream waits for: an answer, an error, or that requests of another thread were read."""
        self.late = 0
        """How many iterables of requests other threads read."""
        self.open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def ask(self, requests: Iterable[Request]) -> None:
        if isinstance(requests, Sequence):
            self.send(requests)
            return
        self.late += 1
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()

    @abstractmethod
    def send(self, requests: Sequence[Request]) -> None:
        """Checks all requests, then sends them."""

    def _read(self, requests: Iterable[Request]) -> None:
        try:
            found = list(requests)
            if self.open:
                self.send(found)
            self.events.put(None)
        except BaseException as error:
            self.events.put(error)
