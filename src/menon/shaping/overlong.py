"""A soft penalty on answers that come near the limit (DAPO, arXiv 2503.14476, equation 13)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.parts import Around


@dataclass(frozen=True)
class Overlong:
    """R <- R - factor * clip((L - (limit - buffer)) / buffer, 0, 1): full beyond `limit` tokens, none up to
    limit - buffer. In a run the two follow `max_new_tokens` unless they are set.

    Comes before the estimator; raw correctness (`acc`), by which dynamic sampling chooses, stays as it is. L
    counts the policy's own tokens. `capped=false` lets the penalty grow beyond the limit. Empty answers and
    those whose grader failed stay as they are. To leave truncated answers out of the loss, use the selection
    `not_truncated`.
    """

    limit: int | None = None
    """The length from which the penalty is whole; null: `max_new_tokens`."""
    buffer: int | None = None
    """The penalty begins this many tokens before the limit; null: a fifth of it, as in the paper."""
    factor: float = 1.0
    """The whole penalty."""
    capped: bool = True
    """Hold the penalty at its whole size beyond the limit."""
    kind: Literal["overlong"] = "overlong"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("reward",)

    def __post_init__(self) -> None:
        limit = math.inf if self.limit is None else self.limit
        buffer = 1 if self.buffer is None else self.buffer
        if not 0 < buffer <= limit or self.factor < 0:
            raise UserError(
                f"limit {self.limit}, buffer {self.buffer} and factor {self.factor} of Overlong: the "
                "buffer lies between 1 and "
                "the limit, and the factor is 0 or more"
            )

    def check(self, name: str, around: Around) -> None:
        room = around.sampling.max_new_tokens
        if self.limit is not None and self.limit > room:
            raise UserError(
                f"{name} counts up to {self.limit} tokens, and answers have room for {room}; set "
                f"{name}.limit={room}, or leave it out"
            )
        if self.buffer is not None and self.buffer > room:
            raise UserError(
                f"{name} begins {self.buffer} tokens before its limit, and answers have room for {room}; set "
                f"{name}.buffer lower, or leave it out"
            )

    def build(self, around: Around) -> "Overlong":
        """With both numbers; those that are not set follow the longest answer."""
        limit = around.sampling.max_new_tokens if self.limit is None else self.limit
        return replace(self, limit=limit, buffer=max(1, limit // 5) if self.buffer is None else self.buffer)

    def __call__(self, batch: Batch) -> Batch:
        last = ragged.last(batch.trained, batch.offset)
        answers = (last >= 0).nonzero()[:, 0]
        penalty = self.penalty(batch.action_lengths[answers].to(batch.reward.dtype))
        return replace(batch, reward=batch.reward.index_add(0, last[answers], penalty))

    def penalty(self, length: Tensor) -> Tensor:
        """The penalty of answers of these lengths, 0 or negative."""
        if self.limit is None or self.buffer is None:
            raise UserError("Overlong outside of a run needs its numbers: give it limit and buffer")
        over = ((length - (self.limit - self.buffer)) / self.buffer).clamp(
            min=0, max=1 if self.capped else None
        )
        return torch.where(over > 0, -self.factor * over, 0)
