"""The answers of a stream, each with the key of its request."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from menon.rollout.protocols import Stream
from menon.types import Completion, Request

Name = tuple[int, int, int, tuple[int, ...]]
Key = TypeVar("Key")


class Answered(Generic[Key]):
    """Asks a stream, and iterates over `(key, completion)` as answers finish; exactly one for each request.

    ValueError for a request whose name is that of one that is not answered yet; RuntimeError if the stream
    leaves a request without an answer, answers one twice, or answers one that was not asked.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.open: dict[Name, Key] = {}
        """Name of a request without an answer -> its key."""
        self.asked = 0

    def ask(self, requests: Iterable[tuple[Key, Request]]) -> None:
        """Asks requests, also while others are being written; see `Stream.ask`."""
        noted = self._noted(requests)
        self.stream.ask(list(noted) if isinstance(requests, Sequence) else noted)

    def _noted(self, requests: Iterable[tuple[Key, Request]]) -> Iterator[Request]:
        for key, request in requests:
            name = name_of(request)
            if name in self.open:
                raise ValueError("two requests have the same name; they would get the same random stream")
            self.open[name] = key
            self.asked += 1
            yield request

    def __iter__(self) -> Iterator[tuple[Key, Completion]]:
        for completion in self.stream:
            name = name_of(completion.request)
            if name not in self.open:
                raise RuntimeError(f"the sampler answered {name}, which was not asked or is answered already")
            yield self.open.pop(name), completion
        if self.open:
            count = len(self.open)
            raise RuntimeError(f"the sampler left {count} of {self.asked} requests without an answer")


def name_of(request: Request) -> Name:
    """A request's name, unique among those that are being answered: prompt, visit, sample and path, which
    also name its random stream."""
    return request.prompt.index, request.visit, request.sample, request.path
