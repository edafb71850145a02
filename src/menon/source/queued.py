"""Steps that are written ahead, while earlier ones are learned from."""

import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from menon.errors import at_least
from menon.source.protocols import Gathered, Source
from menon.types import StepReport

Written = tuple[dict[str, Any], Gathered | Exception]
"""The state of the inner source before a step, and the step, or the exception that prevented it."""


class Queued:
    """A thread that asks `inner` for up to `staleness` steps beyond the one that is learned from.

    It is for text that cannot pause (`asynchronous` is for text that can): trees, dynamic sampling, answers
    in turns, mixtures. `staleness=0` calls `inner` directly: the synchronous run. Otherwise a step is written
    by weights that are at most `staleness` versions old. Steps that were begun are finished before weights
    are published, so which weights wrote a step depends only on the order of the calls, not on the speed of
    either side. After a resume the steps that were lost are written by the newest weights.

    The state is that of `inner` before the oldest step that was not handed out: a resumed run asks the
    prompts of the queue again and trains none twice.
    """

    def __init__(self, inner: Source, staleness: int = 0) -> None:
        at_least(0, "staleness", staleness)
        self.inner, self.staleness = inner, staleness
        self._writer = ThreadPoolExecutor(1, "menon-source") if staleness else None
        self._queue: deque[Future[Written]] = deque()

    def next(self) -> Gathered:
        """An error of the inner source is raised when its step would have been returned."""
        if self._writer is None:
            return self.inner.next()
        self._fill(self._writer, max(1, self.staleness))
        start = time.perf_counter()
        _, gathered = self._queue[0].result()
        if isinstance(gathered, Exception):
            raise gathered
        self._queue.popleft()
        self._fill(self._writer, self.staleness)
        return replace(gathered, waited=time.perf_counter() - start)

    def _fill(self, writer: ThreadPoolExecutor, count: int) -> None:
        while len(self._queue) < count:
            self._queue.append(writer.submit(self._write))

    def _write(self) -> Written:
        before = self.inner.state()
        try:
            return before, self.inner.next()
        except Exception as error:
            return before, error

    def learned(self, report: StepReport) -> None:
        wait(self._queue)
        self.inner.learned(report)

    def published(self, version: int) -> None:
        self.inner.published(version)

    def state(self) -> dict[str, Any]:
        return self._queue[0].result()[0] if self._queue else self.inner.state()

    def load(self, state: Mapping[str, Any]) -> None:
        self._queue.clear()
        self.inner.load(state)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.shutdown(cancel_futures=True)
        self.inner.close()
