"""Samplers that write at a given speed answers of given lengths.

A token of theirs stands for as many tokens as its number says, so that long answers cost nothing to simulate.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from menon.rollout.protocols import OPTIONAL
from menon.simulate.world import World
from menon.types import Completion, Finish, Request

Length = Callable[[int, int, int], int]
"""(prompt, visit, sample) -> tokens of the answer."""


@dataclass(frozen=True)
class Speed:
    """A decoding step of n sequences takes `step + each * n` seconds, a token that is read `read` seconds."""

    step: float
    each: float
    read: float
    slots: int


class SimulatedSampler:
    """`count` samplers with one queue each. The requests of a prompt go to the sampler that has least to do,
    as those of a fleet do."""

    gives = OPTIONAL

    def __init__(self, world: World, count: int, speed: Speed, length: Length) -> None:
        self.world, self.speed, self.length = world, speed, length
        self.count, self.version = count, 0

    def open(self, keep: bool = False) -> "SimulatedStream":
        return SimulatedStream(self)


class SimulatedStream:
    def __init__(self, sampler: SimulatedSampler) -> None:
        self.sampler = sampler
        self.engines = [SimulatedEngine(sampler) for _ in range(sampler.count)]
        self.abort_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def ask(self, requests: Iterable[Request]) -> None:
        """Deals the requests; all that are asked at once."""
        prompts: dict[tuple[int, int], list[Request]] = {}
        for request in requests:
            prompts.setdefault((request.prompt.index, request.visit), []).append(request)
        load = [(len(engine.queue), number) for number, engine in enumerate(self.engines)]
        heapq.heapify(load)
        for group in prompts.values():
            least, number = load[0]
            self.engines[number].queue.extend(group)
            heapq.heapreplace(load, (least + len(group), number))
        for engine in self.engines:
            engine.fill()

    def abort(self) -> None:
        self.abort_at = self.sampler.world.now

    def __iter__(self) -> Iterator[Completion]:
        """Completions in the order of their times. They are computed as they are taken."""
        world = self.sampler.world
        ends = [(engine.next_end, number) for number, engine in enumerate(self.engines) if engine.live]
        heapq.heapify(ends)
        while ends and (self.abort_at is None or ends[0][0] <= self.abort_at):
            engine = self.engines[ends[0][1]]
            finished = engine.advance(engine.live[0][0] - engine.steps)
            if engine.live:
                heapq.heapreplace(ends, (engine.next_end, ends[0][1]))
            else:
                heapq.heappop(ends)
            world.written = engine.time
            yield from finished
        if self.abort_at is not None:
            for engine in self.engines:
                left = engine.abandon(self.abort_at)
                world.written = max(world.written, engine.time)
                yield from left


class SimulatedEngine:
    """One sampler while a stream is open."""

    def __init__(self, sampler: SimulatedSampler) -> None:
        self.sampler, self.speed = sampler, sampler.speed
        self.time = sampler.world.now
        self.steps = 0
        """Decoding steps so far."""
        self.queue: deque[Request] = deque()
        self.live: list[tuple[int, int, int, Request]] = []
        """A heap: (step after which it is whole, number, first step, request)."""
        self._number = 0
        self._read: tuple[int, int] | None = None
        """The prompt that was read last: a group reads its prompt once."""

    @property
    def step_time(self) -> float:
        return self.speed.step + self.speed.each * len(self.live)

    @property
    def next_end(self) -> float:
        return self.time + self.step_time * (self.live[0][0] - self.steps)

    def fill(self) -> None:
        """Gives free slots to what is queued."""
        before = self.time
        while self.queue and len(self.live) < self.speed.slots:
            request = self.queue.popleft()
            prompt = request.prompt.index, request.visit
            read = int(request.prefix.sum()) + (
                0 if prompt == self._read else int(request.prompt.tokens.sum())
            )
            self.time += self.speed.read * read
            self._read = prompt
            whole = self.sampler.length(*prompt, request.sample)
            left = max(1, whole - int(request.prefix.sum()))
            self._number += 1
            heapq.heappush(self.live, (self.steps + left, self._number, self.steps, request))
        self.sampler.world.sampling += self.time - before
        self.sampler.world.slots += (self.time - before) * len(self.live)

    def advance(self, steps: int) -> list[Completion]:
        """So many decoding steps; what is whole then."""
        took = steps * self.step_time
        self.sampler.world.sampling += took
        self.sampler.world.slots += took * len(self.live)
        self.time += took
        self.steps += steps
        finished = []
        while self.live and self.live[0][0] <= self.steps:
            _, _, first, request = heapq.heappop(self.live)
            finished.append(self._completion(request, self.steps - first, "stop"))
        self.fill()
        return finished

    def abandon(self, at: float) -> Sequence[Completion]:
        """Ends after the step that goes on at this time."""
        finished: list[Completion] = []
        if self.live and at > self.time:
            queued, self.queue = self.queue, deque()
            finished += self.advance(math.ceil((at - self.time) / self.step_time))
            self.queue = queued
        finished += [self._completion(one[3], self.steps - one[2], "abort") for one in self.live]
        finished += [self._completion(request, 0, "abort") for request in self.queue]
        self.live.clear()
        self.queue.clear()
        return finished

    def _completion(self, request: Request, count: int, finish: Finish) -> Completion:
        tokens = np.array([count] if count else [], dtype=np.int32)
        zeros = np.zeros(len(tokens), dtype=np.float32)
        version = np.full(len(tokens), self.sampler.version, dtype=np.int32)
        return Completion(request, tokens, zeros, zeros, zeros, version, finish, "")
