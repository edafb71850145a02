"""Several sources in fixed proportions: imitation beside reinforcement, a replay beside new text."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from menon.errors import UserError
from menon.source.asynchronous import Asynchronous
from menon.source.protocols import Gathered, Source
from menon.source.queued import Queued
from menon.types import StepReport


class Mixed:
    """Each step comes from one of the sources: the one that has had the least of its share of the steps so
    far.

    The choice is not random, so a mixture of 3 to 1 has exactly one step of the second in every four. Between
    equal sources the first one is next.
    """

    def __init__(self, sources: Mapping[str, Source], weights: Mapping[str, float]) -> None:
        if sources.keys() != weights.keys() or not sources:
            odd = sorted(sources.keys() ^ weights.keys()) or ["none"]
            raise UserError(
                f"a mixture needs one weight for each source; '{odd[0]}' lacks the one or the other"
            )
        if not all(math.isfinite(weight) and weight > 0 for weight in weights.values()):
            raise UserError(f"weights of a mixture must be positive numbers, not {dict(weights)}")
        beside = (Queued, Asynchronous)
        if stale := [name for name, one in sources.items() if isinstance(one, beside) and one.staleness]:
            raise UserError(
                f"'{stale[0]}' of a mixture writes ahead, also while another source is learned from; "
                "put the queue around the mixture"
            )
        total = sum(weights.values())
        self.sources = dict(sources)
        self.shares = {name: weights[name] / total for name in sources}
        self._taken = dict.fromkeys(sources, 0)
        self._given: deque[str] = deque()
        """Sources of the steps that were given out and are not learned yet; several if a queue asks ahead."""

    def next(self) -> Gathered:
        steps = sum(self._taken.values()) + 1
        name = max(self.sources, key=lambda name: self.shares[name] * steps - self._taken[name])
        gathered = self.sources[name].next()
        self._taken[name] += 1
        self._given.append(name)
        return gathered

    def learned(self, report: StepReport) -> None:
        self.sources[self._given.popleft()].learned(report)

    def published(self, version: int) -> None:
        for source in self.sources.values():
            source.published(version)

    def state(self) -> dict[str, Any]:
        return {
            "taken": dict(self._taken),
            "sources": {name: source.state() for name, source in self.sources.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        if state["taken"].keys() != self.sources.keys():
            odd = sorted(state["taken"].keys() ^ self.sources.keys())
            raise UserError(
                f"this run began with another mixture ('{odd[0]}'); put it back, or start a new run"
            )
        self._taken = {name: int(count) for name, count in state["taken"].items()}
        self._given.clear()
        for name, source in self.sources.items():
            source.load(state["sources"][name])

    def close(self) -> None:
        for source in self.sources.values():
            source.close()
