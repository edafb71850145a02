"""Writes answers, and new endings of answers, on one open stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.rollout.groups import answer_on
from menon.rollout.protocols import Grade, Stream
from menon.types import Graded, Prompt, Request, Rollout, Sampling

PURPOSE = "posterior"


@dataclass(frozen=True)
class Ending:
    """A proposal: keep the first `cut` tokens of an answer and write the rest anew."""

    start: Graded
    cut: int
    name: tuple[int, ...]
    """Names the random stream among those of the prompt and the chain; no two endings share it."""
    chain: int = 0


@dataclass(frozen=True)
class Writer:
    """A stream with its grader. All answers of a call are written together."""

    stream: Stream
    grade: Grade
    sampling: Sampling

    def answers(self, asked: Sequence[tuple[Prompt, int]]) -> list[Graded]:
        """An independent answer for each prompt and number; no two have the same."""
        requests = [Request(prompt, self.sampling, sample, purpose=PURPOSE) for prompt, sample in asked]
        return answer_on(self.stream, requests, list(range(len(requests))), self.grade)

    def groups(self, prompts: Sequence[Prompt], count: int) -> list[list[Graded]]:
        """`count` independent answers to each prompt."""
        graded = self.answers([(prompt, number) for prompt in prompts for number in range(count)])
        return [graded[place : place + count] for place in range(0, len(graded), count)]

    def endings(self, moves: Sequence[Ending], limit: int | None = None) -> list[Graded]:
        """The answers with new endings, as whole answers of at most `limit` tokens (the sampling's)."""
        if not moves:
            return []
        most = limit or self.sampling.max_new_tokens
        left = {
            cut: replace(self.sampling, max_new_tokens=most - cut) for cut in {move.cut for move in moves}
        }
        requests = [
            Request(
                prompt=move.start.rollout.prompt,
                sampling=left[move.cut],
                sample=move.chain,
                purpose=PURPOSE,
                path=move.name,
                prefix=move.start.rollout.answer_tokens[: move.cut],
            )
            for move in moves
        ]
        written = answer_on(self.stream, requests, list(range(len(requests))), self.grade)
        return [
            replace(new, rollout=whole(move.start.rollout, move.cut, new.rollout))
            for move, new in zip(moves, written, strict=True)
        ]


def whole(before: Rollout, cut: int, after: Rollout) -> Rollout:
    """`after`, which goes on from the first `cut` answer tokens of `before`, with these tokens as actions,
    and with their log-probs: the policy wrote them too."""
    given = len(before.prompt.tokens) + cut

    def joined(name: str) -> NDArray | None:
        start, end = getattr(before, name), getattr(after, name)
        return None if start is None or end is None else np.concatenate([start[:given], end[given:]])

    names = ("is_action", "logp", "log_kept", "entropy", "version")
    columns: dict[str, Any] = {name: joined(name) for name in names}
    return replace(after, group=before.group, sample=before.sample, **columns)


def tokens_of(graded: Sequence[Graded]) -> int:
    """Tokens of the answers, given beginnings included."""
    return sum(len(one.rollout.answer_tokens) for one in graded)
