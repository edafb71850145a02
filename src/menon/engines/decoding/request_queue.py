"""Requests that have no slot yet, in the order in which they get one."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from menon.types import Request, Tokens


@dataclass(frozen=True)
class Queued:
    """A request that has no slot yet, and its context: the tokens of prompt and prefix."""

    request: Request
    given: Tokens
    key: bytes


class RequestQueue:
    """Requests in the order in which they get slots: those with the same context together, contexts in the
    order of their first request.  Requests whose answers are followed by others come before those that are
    `last`, because otherwise slots would be empty at the end, while the following ones are written.
    """

    def __init__(self) -> None:
        self.groups: dict[tuple[bool, bytes], deque[Queued]] = {}
        """Requests by whether they are `last`, and by their context."""
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def add(self, requests: Sequence[Request]) -> None:
        for request in requests:
            given = np.concatenate([request.prompt.tokens, request.prefix], dtype=np.int32)
            key = given.tobytes()
            self.groups.setdefault((request.last, key), deque()).append(Queued(request, given, key))
        self.size += len(requests)

    def take(self, count: int) -> list[Queued]:
        """The next requests, at most `count`."""
        taken: list[Queued] = []
        while len(taken) < count and (name := self._next()):
            group = self.groups[name]
            taken += [group.popleft() for _ in range(min(len(group), count - len(taken)))]
            if not group:
                del self.groups[name]
        self.size -= len(taken)
        return taken

    def drop(self, unwanted: Collection[int]) -> None:
        """Forgets the requests with these `id`s."""
        for name, group in list(self.groups.items()):
            kept = deque(queued for queued in group if id(queued.request) not in unwanted)
            self.size -= len(group) - len(kept)
            self.groups[name] = kept
            if not kept:
                del self.groups[name]

    @property
    def next_key(self) -> bytes:
        """The context of the next request; empty if there is none."""
        name = self._next()
        return name[1] if name else b""

    def _next(self) -> tuple[bool, bytes] | None:
        return next((name for name in self.groups if not name[0]), next(iter(self.groups), None))
