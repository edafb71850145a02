"""The work of both sides: how long the answers are, and to what."""

import random
from dataclasses import dataclass

LONGEST = 96
"""New tokens that an answer may have in the ragged cases."""


@dataclass(frozen=True)
class Work:
    """Prompts, samples of each, and the length of every answer: the same number of tokens for every side."""

    prompts: tuple[tuple[int, ...], ...]
    """[P] token numbers."""
    limits: tuple[int, ...]
    """[P * G] new tokens of each answer, those of a prompt together. End-of-text tokens are ignored."""

    @property
    def samples(self) -> int:
        return len(self.limits) // len(self.prompts)

    @property
    def tokens(self) -> int:
        return sum(self.limits)

    def plain(self) -> dict[str, list]:
        """As a request to a worker."""
        return {"prompts": [list(prompt) for prompt in self.prompts], "limits": list(self.limits)}


def ragged(count: int, mean: float, longest: int = LONGEST) -> tuple[int, ...]:
    """[count] lengths from 1 to `longest` with about that mean, in a fixed disorder.

    The distribution that assumes nothing but range and mean, p(n) ~ w^n (maximum entropy): for a mean of 10
    of 96 many short answers and a long tail, for 60 a rise towards the limit. Its `count` mid-quantiles are
    taken, so nothing is drawn by chance.
    """
    weights = _weights(mean, longest)
    total, below, lengths, n = sum(weights), 0.0, [], 0
    for place in range(count):
        while n < longest and below + weights[n] < total * (place + 0.5) / count:
            below += weights[n]
            n += 1
        lengths.append(min(n + 1, longest))
    random.Random(0).shuffle(lengths)
    return tuple(lengths)


def _weights(mean: float, longest: int) -> list[float]:
    """w^n for n = 1 ... longest, with the w that gives the mean; by bisection."""
    if not 1 < mean < longest:
        raise ValueError(f"a mean of {mean} is not between 1 and {longest}")
    low, high = 0.01, 100.0
    while high - low > 1e-12 * low:
        middle = (low + high) / 2
        largest = max(middle, 1.0) ** longest
        weights = [middle**n / largest for n in range(1, longest + 1)]
        if sum(n * weight for n, weight in enumerate(weights, start=1)) < mean * sum(weights):
            low = middle
        else:
            high = middle
    return weights


def dense(count: int, length: int) -> tuple[int, ...]:
    return (length,) * count
