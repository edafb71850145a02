"""Where an answer is cut into segments. A cut is a number of answer tokens that are kept: the state after
them; 0 is the prompt.

Every partition is a function `f(rollout) -> cuts`; cuts are increasing, each smaller than the answer's
length.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from menon.errors import UserError, at_least
from menon.types import Rollout

Partition = Callable[[Rollout], list[int]]


@dataclass(frozen=True)
class CutPoints:
    """Cuts before every `interval`-th uncertain token, beginning with the first (SPO-chain, arXiv 2505.23564,
    section 4.1).

    A token is uncertain where the policy that wrote it gave it a probability below `threshold`. So each
    segment holds `interval` of them. None: no cut.
    """

    interval: int = 5
    threshold: float = 0.9

    def __post_init__(self) -> None:
        at_least(1, "interval", self.interval)
        if not 0 < self.threshold <= 1:
            raise UserError(f"threshold is {self.threshold:g}; it is a probability above 0 and at most 1")

    def __call__(self, rollout: Rollout) -> list[int]:
        logp = rollout.logp[len(rollout.prompt.tokens) :]
        return cut_points(logp, self.interval, self.threshold)


@dataclass(frozen=True)
class FixedTokens:
    """Cuts at the prompt and after every `segment_tokens` tokens."""

    segment_tokens: int = 30

    def __post_init__(self) -> None:
        at_least(1, "segment_tokens", self.segment_tokens)

    def __call__(self, rollout: Rollout) -> list[int]:
        return list(range(0, len(rollout.answer_tokens), self.segment_tokens))


@dataclass(frozen=True)
class EqualParts:
    """Cuts into `parts` of equal length, longer ones first. The prompt is no cut, so the first part gets no
    credit."""

    parts: int = 4

    def __post_init__(self) -> None:
        at_least(1, "parts", self.parts)

    def __call__(self, rollout: Rollout) -> list[int]:
        return equal_parts(len(rollout.answer_tokens), self.parts)


@dataclass(frozen=True)
class Lines:
    """Cuts at the prompt and after every line (VinePPO's steps); an end token belongs to the step before
    it."""

    newline_tokens: Collection[int]
    """Tokens whose text holds a line's end."""

    def __call__(self, rollout: Rollout) -> list[int]:
        tokens = rollout.answer_tokens
        size = len(tokens) - (rollout.finish == "stop" and len(tokens) > 1)
        ends = np.isin(tokens[:size], list(self.newline_tokens))
        behind = np.flatnonzero(ends[:-1] & ~ends[1:]) + 1  # an empty line is no step
        return [0, *behind.tolist()] if size else []


def newline_tokens(texts: Sequence[str]) -> frozenset[int]:
    """Those of all tokens, by their texts, that hold a line's end."""
    return frozenset(token for token, text in enumerate(texts) if "\n" in text)


def cut_points(logp: np.ndarray, interval: int, threshold: float) -> list[int]:
    """[T] log-probs of an answer's tokens -> its cuts."""
    return np.flatnonzero(logp < math.log(threshold))[::interval].tolist()


def equal_parts(length: int, parts: int) -> list[int]:
    size = [length // parts + (part < length % parts) for part in range(parts)]
    return [cut for cut in np.cumsum(size[:-1]).tolist() if cut < length]
