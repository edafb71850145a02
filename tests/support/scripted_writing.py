"""A sampler that writes what a script says, piece by piece, and can be aborted at any piece."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np

from menon.rollout.protocols import OPTIONAL
from menon.types import Completion, Request


class SlowSampler:
    """Writes one token for every open request in turn; `length(prompt, visit, sample)` says how many. `turn`
    is called before each of them, in the thread that writes."""

    gives = OPTIONAL

    def __init__(
        self, length: Callable[[int, int, int], int], turn: Callable[[int], None] = lambda turn: None
    ) -> None:
        self.version = 0
        self.length, self.turn = length, turn
        self.turns = 0
        self.asked: list[tuple[int, int, int, int]] = []
        """(prompt, visit, sample, tokens that were there) of every request."""

    def open(self, keep: bool = False) -> "SlowStream":
        return SlowStream(self)


class SlowStream:
    def __init__(self, sampler: SlowSampler) -> None:
        self.sampler = sampler
        self.requests: list[Request] = []
        self.aborting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def ask(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self.requests.append(request)
            name = request.prompt.index, request.visit, request.sample
            self.sampler.asked.append((*name, len(request.prefix)))

    def abort(self) -> None:
        self.aborting = True

    def __iter__(self) -> Iterator[Completion]:
        written: dict[int, list[int]] = {place: [] for place in range(len(self.requests))}
        while written and not self.aborting:
            self.sampler.turns += 1
            self.sampler.turn(self.sampler.turns)
            for place in list(written):
                request = self.requests[place]
                written[place].append(self.sampler.version)
                name = request.prompt.index, request.visit, request.sample
                if len(request.prefix) + len(written[place]) >= self.sampler.length(*name):
                    yield piece(request, written.pop(place), "stop")
        for place, versions in written.items():
            yield piece(self.requests[place], versions, "abort")


def piece(request: Request, versions: list[int], finish: Any) -> Completion:
    """Tokens that count up through the answer."""
    count, first = len(versions), len(request.prefix)
    zeros = np.zeros(count, dtype=np.float32)
    return Completion(
        request=request,
        tokens=np.arange(first, first + count, dtype=np.int32),
        logp=zeros - 1,
        log_kept=zeros,
        entropy=zeros,
        version=np.array(versions, dtype=np.int32),
        finish=finish,
        text="x" * (first + count),
    )
