"""Text that is written while earlier text is learned from, and that survives the publication of new weights.

The threads, and what passes between them:

```
 main       next ────────── learn ────────── learned ── publish ── published ── record ── next ...
              │ starts                          │ aborts
 writer       └─► ask ─► pieces, answers ─ ─ ─ ─┘  (idle)                                  └─► ask the rest
                              │ whole groups
 grader                       └─► verdicts
```

main, `next`     makes prompts of the steps that may begin; waits for all groups of the oldest step; the
                 writer wakes it after each completion. No limit of its own, because text takes as long as
                 it takes: every 5 s it looks whether the writer lives, whose sampler has deadlines.
main, `learned`  aborts the stream; waits for the writer's end: one decoding step. 600 s, then the run ends.
writer           asks for what is missing; waits for completions; the sampler wakes it, and has the deadline
                 (`processes`). What ends it is raised in `next`, at the step that lacks the text.
grader           takes whole groups from the writer. `next` waits for its verdicts, as long as the reward
                 takes.

The queue: at most `staleness` + 1 steps are begun and not learned, the oldest first. A step begins only when
the weights are new enough for it to be learned within the bound (*admission*), so it is never thrown away and
never trained out of order: short answers are not favoured. This is the back-pressure, too: if learning is
slow, nothing more is begun.

Between `learned` and the next `next` nothing is written, so weights may change, and a checkpoint and an
evaluation see a sampler that does nothing else.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from menon.errors import UserError, at_least
from menon.rollout.protocols import Aborts, Begins, Begun, Notes, Stream
from menon.source.in_thread import Beside, InThread
from menon.source.online import Online, gathered_from
from menon.source.protocols import Gathered
from menon.types import Metric, StepReport, Sum


class Asynchronous:
    """Steps of `inner`, whose rollout can be written with pauses (`rollout.protocols.Begins`).

    With `staleness` K a token is at most K versions older than the weights that learn from it. K = 0 writes
    each step by the newest weights, and is the synchronous run bit for bit. For K > 0 the weights that wrote
    a token depend on the speed of both sides, so a run does not repeat bit for bit; prompts, their order and
    their random numbers do.

    The state is that of the prompts before the oldest step that was not learned from: a resumed run asks the
    prompts of all unfinished steps again, by the newest weights, and trains none twice.

    UserError for a rollout that cannot be written with pauses.
    """

    def __init__(
        self, inner: Online, staleness: int, steps: int | None = None, beside: Beside | None = None
    ) -> None:
        """`steps`: the last step of the run; nothing is written for later ones."""
        at_least(0, "staleness", staleness)
        if not isinstance(inner.rollout, Begins):
            raise UserError(
                f"{type(inner.rollout).__name__} cannot pause in the middle of its text; let it be written "
                "step by step (menon.source.queued)"
            )
        self.inner, self.rollout, self.staleness, self.steps = inner, inner.rollout, staleness, steps
        self.beside: Beside = InThread() if beside is None else beside
        self._open: deque[tuple[dict[str, Any], Begun]] = deque()
        """The steps that are begun and not learned, with the state of the prompts before each."""
        self._stream: Stream | None = None
        self._begun = 0
        """Groups that have begun since the last step was given out."""
        self._again = 0
        """Groups that an earlier process had begun and that were lost with it."""
        self._writing = False

    def next(self) -> Gathered:
        """An error of the sampler is raised when its step would have been returned."""
        self._admit()
        self._write()
        begun = self._open[0][1]
        start = time.perf_counter()
        self.beside.until(lambda: begun.finished == begun.groups)
        found = begun.collected()
        waited = time.perf_counter() - start
        gathered = gathered_from(found, self.inner.sampler.version)
        wrote = {"groups": begun.groups, "lengths": list(begun.lengths), "again": self._again}
        gathered = replace(
            gathered, metrics={**gathered.metrics, **self._metrics(begun)}, waited=waited, wrote=wrote
        )
        self._begun = self._again = 0
        return gathered

    def _admit(self) -> None:
        """Begins the steps that can be learned within the bound, if the run has so many."""
        version = self.inner.sampler.version
        last = version + 1 + self.staleness if self.steps is None else self.steps
        while len(self._open) <= self.staleness and (not self._open or version + 1 + len(self._open) <= last):
            before = self.inner.prompts.state()
            begun = self.rollout.begin(self.inner.prompts, self.inner.grade, self.inner.around)
            self._open.append((before, begun))
            self._begun += begun.groups

    def _write(self) -> None:
        """Asks for everything that is missing, if nothing is being written."""
        if self._writing or self.beside.error is not None:
            return
        missing = [(begun, request) for _, begun in self._open for request in begun.requests()]
        if missing:
            self._stream, self._writing = self.inner.sampler.open(), True
            self.beside.start(self._phase(self._stream, missing))

    def _phase(self, stream: Stream, missing: list[tuple[Begun, Any]]) -> Iterator[None]:
        """One stretch of writing, until all is written or it is aborted."""
        owner = {(r.prompt.index, r.visit, r.sample): begun for begun, r in missing}
        with stream:
            stream.ask([request for _, request in missing])
            for completion in stream:
                done = completion.request
                owner[done.prompt.index, done.visit, done.sample].take(completion)
                yield

    def _metrics(self, begun: Begun) -> dict[str, Metric]:
        later = [one for _, one in self._open if one is not begun]
        ready = sum(one.finished for one in later)
        return {
            "async/groups_begun": Sum(self._begun),
            "async/groups_ready": Sum(ready),
            "async/groups_open": Sum(sum(one.groups for one in later) - ready),
            "async/computed_again": Sum(begun.computed_again),
        }

    def learned(self, report: StepReport) -> None:
        self._stop()
        if isinstance(self.inner.prompts, Notes):
            self.inner.prompts.note(report.graded)
        self._open.popleft()

    def _stop(self) -> None:
        self.beside.stop(self._abort)
        self._writing = False

    def _abort(self) -> bool:
        if not isinstance(self._stream, Aborts):
            return False
        self._stream.abort()
        return True

    def published(self, version: int) -> None:
        self.inner.published(version)

    def state(self) -> dict[str, Any]:
        before = self._open[0][0] if self._open else self.inner.prompts.state()
        lost = sum(begun.groups for _, begun in self._open)
        return self.inner.state() | {"prompts": before} | ({"begun": lost} if lost else {})

    def load(self, state: Mapping[str, Any]) -> None:
        self._drop()
        self.inner.load(state)
        self._again = int(state.get("begun", 0))

    def _drop(self) -> None:
        self._stop()
        for _, begun in self._open:
            begun.close()
        self._open.clear()

    def close(self) -> None:
        self._drop()
        self.inner.close()
