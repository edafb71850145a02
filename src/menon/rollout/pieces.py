"""The groups of one step, written with pauses: an answer may be written in several pieces, by other weights
each.

    ask ──► pieces of answers ──► whole answers ──► whole groups ──► verdicts ──► Collected
            one per pause          in any order       a thread grades

A piece that was aborted is the prefix of the next one. So what follows it is written from keys and values
that the new weights have computed for the whole text before it, and its log-probs are exactly those that the
new weights have after that text. Each token carries the version of its own weights.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from menon.parts import Around
from menon.rollout.answered import name_of
from menon.rollout.protocols import Collected, Grade, GradeAll
from menon.types import Completion, Graded, Prompt, Request, Rollout, Verdict

ARRAYS = ("tokens", "logp", "log_kept", "entropy", "version", "alternatives", "alternatives_logp", "kept")
"""Fields of a completion that have one entry for each token."""


class GroupsInPieces:
    """See `rollout.protocols.Begun`. Answers in the order of the prompts, then of the samples, however they
    finish; groups are numbered from 0."""

    def __init__(self, asked: Sequence[tuple[Prompt, int]], grade: Grade, around: Around) -> None:
        self.samples, self.grade = around.samples_per_prompt, grade
        self.asked = [
            Request(prompt, around.sampling, sample, visit)
            for prompt, visit in asked
            for sample in range(self.samples)
        ]
        self.place = {name_of(request): place for place, request in enumerate(self.asked)}
        self.pieces: list[list[Completion]] = [[] for _ in self.asked]
        self.rollouts: dict[int, Rollout] = {}
        self.missing = [self.samples] * len(asked)
        """For each group, how many of its answers are not whole yet."""
        self.lengths: list[int] = []
        self.computed_again = 0
        self.verdicts: dict[int, Future[list[Verdict]]] = {}
        """First place of what is graded together -> its verdicts."""
        whole = isinstance(grade, GradeAll) and not getattr(grade, "apart", False)
        self.together = len(asked) if whole else 1
        """How many groups are graded together."""
        self.grader = ThreadPoolExecutor(1, "menon-grader")

    @property
    def groups(self) -> int:
        return len(self.missing)

    @property
    def finished(self) -> int:
        return self.missing.count(0)

    def requests(self) -> list[Request]:
        left = [place for place in range(len(self.asked)) if place not in self.rollouts]
        found = [going_on(self.asked[place], self.pieces[place]) for place in left]
        self.computed_again += sum(
            len(request.prompt.tokens) + len(request.prefix) for request in found if len(request.prefix)
        )
        return found

    def take(self, completion: Completion) -> None:
        place = self.place[name_of(completion.request)]
        if len(completion.tokens) or completion.finish != "abort":
            self.pieces[place].append(completion)
        if completion.finish == "abort":
            return
        group = place // self.samples
        whole = joined(self.asked[place], self.pieces[place])
        self.rollouts[place] = Rollout.of(whole, group)
        self.lengths.append(len(whole.tokens))
        # Another thread may collect as soon as nothing is missing, so what is graded is submitted before.
        if self.missing[group] == 1 and self.together == 1:
            self._judge(group * self.samples, self.samples)
        elif sum(self.missing) == 1:
            self._judge(0, len(self.asked))
        self.missing[group] -= 1

    def _judge(self, first: int, count: int) -> None:
        """Grades so many answers, from this place on, in the thread that grades."""
        rollouts = [self.rollouts[place] for place in range(first, first + count)]
        self.verdicts[first] = self.grader.submit(verdicts_of, self.grade, rollouts)

    def collected(self) -> Collected:
        found = [verdict for first in sorted(self.verdicts) for verdict in self.verdicts[first].result()]
        self.close()
        return Collected([Graded(self.rollouts[place], verdict) for place, verdict in enumerate(found)])

    def close(self) -> None:
        self.grader.shutdown(wait=False, cancel_futures=True)


def verdicts_of(grade: Grade, rollouts: Sequence[Rollout]) -> list[Verdict]:
    if isinstance(grade, GradeAll):
        return grade.grade_all(rollouts)
    return [grade(rollout) for rollout in rollouts]


def going_on(request: Request, pieces: Sequence[Completion]) -> Request:
    """The request for what is missing of an answer."""
    if not pieces:
        return request
    written = np.concatenate([request.prefix, *(piece.tokens for piece in pieces)])
    left = request.sampling.max_new_tokens - sum(len(piece.tokens) for piece in pieces)
    return replace(request, prefix=written, sampling=replace(request.sampling, max_new_tokens=left))


def joined(request: Request, pieces: Sequence[Completion]) -> Completion:
    """One completion of the whole request; finish and text are those of the last piece."""
    if len(pieces) == 1:
        return replace(pieces[0], request=request)

    def all_of(name: str) -> Any:
        values = [getattr(piece, name) for piece in pieces]
        return None if any(value is None for value in values) else np.concatenate(values)

    return replace(pieces[-1], request=request, **{name: all_of(name) for name in ARRAYS})
