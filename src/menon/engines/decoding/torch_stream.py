"""A stream of the built-in sampler: requests are distributed to lanes, and completions are returned as lanes
finish them.

Lane 0 is this process. The others are worker processes, if there are any that no other stream uses.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from menon.engines.decoding.lane import Lane
from menon.engines.decoding.rows import nothing
from menon.engines.decoding.settings import Settings
from menon.engines.decoding.slots import Slots
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.request_checks import most_tokens
from menon.engines.worker_lanes import Asked, Read, WorkerLanes
from menon.types import Completion, Request


class Owner(Protocol):
    """What a stream uses of its sampler (`torch_sampler.TorchSampler` says what each does)."""

    version: int
    computed_tokens: int
    detokenizer: Detokenizer

    def check(self, request: Request) -> None: ...
    def most_in_each(self, longest: int) -> int: ...
    def slots_for(self, places: int) -> Slots: ...
    def keep_slots(self, slots: Slots) -> None: ...
    def threads(self) -> AbstractContextManager[None]: ...
    def worker_lanes(self, settings: Settings, keep: bool, read: Read) -> WorkerLanes | None: ...


class TorchStream:
    """See `rollout.protocols.Stream`. All requests of an `ask` are checked before any of them is answered:
    those of a sequence at once, others when they are read. UserError for one that cannot be answered."""

    def __init__(self, sampler: Owner, keep: bool, settings: Settings) -> None:
        self.sampler, self.keep, self.settings = sampler, keep, settings
        self.asked: list[Asked] = []
        """Requests since the last completion was returned."""
        self.longest = self.most = 0
        """Most tokens of a sequence, prompt included; how many sequences each lane may write at a time."""
        self.batch: deque[Completion] = deque()
        """Completions of one step of one lane that are not returned yet."""
        self.following: list[Asked] = []
        """Requests that follow from those that were returned."""
        self.settling: tuple[int, int] | None = None
        """Number of the lane that wrote them, and how many of them must be settled."""
        self.own: Lane | None = None
        self.unread: deque[tuple[int, list[Asked]]] = deque()
        """Completions of lane 0 that are to be settled: how many, and the requests that follow from them."""
        self.workers: WorkerLanes | None = None
        self.aborting = self.aborted = False
        """Whether the writing ends after the current decoding step, and whether it has."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        whole = self.done
        if self.workers is not None:
            self.sampler.computed_tokens += self.workers.end()
        if self.own is not None and whole:
            self.sampler.keep_slots(self.own.scheduler.slots)
        self.own = self.workers = None

    def ask(self, requests: Iterable[Request]) -> None:
        if isinstance(requests, Sequence):
            self._check(requests)
        self.asked.append(requests)

    def abort(self) -> None:
        """See `rollout.protocols.Aborts`. What worker processes write is finished first."""
        if self.keep:
            raise RuntimeError("a stream that keeps prefixes cannot be aborted; open it without keep")
        self.aborting = True

    def __iter__(self) -> Iterator[Completion]:
        while (completion := self._next()) is not None:
            yield completion

    def _check(self, requests: Sequence[Request]) -> None:
        """UserError for requests that do not fit into the model's context or into memory."""
        for request in requests:
            self.sampler.check(request)
        longest = max(map(most_tokens, requests), default=1)
        if longest > self.longest:
            self.most, self.longest = self.sampler.most_in_each(longest), longest

    def read(self, asked: Iterable[Asked]) -> list[Request]:
        """All requests, checked; it waits for those that are not known yet."""
        found: list[Request] = []
        for requests in asked:
            if isinstance(requests, Sequence):
                found += requests
            else:
                late = list(requests)
                self._check(late)
                found += late
        return found

    @property
    def done(self) -> bool:
        """Whether all requests are answered and none follow."""
        own = self.own is None or not (self.own.busy or self.unread)
        return own and self.settling is None and (self.workers is None or self.workers.done)

    def _next(self) -> Completion | None:
        """The next completion; None when all requests are answered. Requests since the last completion follow
        from it."""
        self.follow()
        while not self.batch:
            if not self.advance():
                return None
        return self.batch.popleft()

    def follow(self) -> None:
        """Takes the requests since the last completion as those that follow from it."""
        if self.settling is not None:
            self.following += self.asked
            self.asked = []
            if not self.batch:
                self._settle(*self.settling)

    def advance(self) -> bool:
        """Deals requests, computes a step, or receives completions; False: all requests are answered. Those
        of the step before must have been returned."""
        if self.aborting and not self.aborted:
            self._abort()
        elif not self.done:
            self._advance()
        elif self.asked:
            requests, self.asked = self.read(self.asked), []
            self._deal(requests)
        else:
            return False
        return True

    def _abort(self) -> None:
        """Gives out all requests of this process without an answer as they are, those too that were only
        asked."""
        late = [requests for _, following in self.unread for requests in following]
        unread = self.read([*late, *self.following, *self.asked])
        self.asked, self.following, self.settling, self.aborted = [], [], None, True
        self.unread.clear()
        live = [] if self.own is None else self.own.scheduler.abort()
        words = self.sampler.detokenizer
        self.batch.extend([*live, *(nothing(request, self.settings, words) for request in unread)])

    def _settle(self, lane: int, count: int) -> None:
        following, self.following, self.settling = self.following, [], None
        if not count and not following:
            return
        if lane:
            assert self.workers is not None
            self.workers.settle(lane, count, following, self.most, self.sampler.version)
        else:
            self.unread.append((count, following))

    def _deal(self, requests: list[Request]) -> None:
        """Gives every lane its part of the requests, when no lane has anything to do."""
        if self.own is None:
            self.workers = self.sampler.worker_lanes(self.settings, self.keep, self.read)
        mine = requests
        if self.workers is not None:
            mine = self.workers.deal(requests, self.most, self.sampler.version)
        if self.own is None:
            words = self.sampler.detokenizer
            self.own = Lane.of(mine, self.most, self.keep, self.settings, self.sampler.slots_for, words)
        else:
            self.own.settle(0, mine, self.most)

    def _advance(self) -> None:
        """Receives completions from a worker, or computes a step of this process."""
        assert self.own is not None
        if self.workers is not None and (self.workers.has_sent or not (self.own.busy or self.unread)):
            lane, finished, computed = self.workers.take()
            self.sampler.computed_tokens += computed
        else:
            self._settle_own(self.own)
            lane, finished = 0, self._step(self.own) if self.own.busy else []
        if finished:
            self.batch.extend(finished)
            self.settling = lane, self.own.to_settle(finished)

    def _settle_own(self, own: Lane) -> None:
        """Settles this process's completions in order: those whose requests are known, and those that must be
        settled before the next step."""
        while self.unread and (own.overdue or not own.busy or known(self.unread[0][1])):
            count, following = self.unread.popleft()
            own.settle(count, self.read(following), self.most)

    def _step(self, own: Lane) -> list[Completion]:
        before = own.scheduler.computed_tokens
        try:
            with self.sampler.threads():
                return own.step(self.sampler.version)
        finally:
            self.sampler.computed_tokens += own.scheduler.computed_tokens - before


def known(asked: Iterable[Asked]) -> bool:
    """Whether reading these requests does not wait."""
    return all(isinstance(requests, Sequence) for requests in asked)
