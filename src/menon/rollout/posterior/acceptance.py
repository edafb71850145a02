"""Where a proposal of a Markov chain cuts an answer, and when it is accepted."""

import math
from collections.abc import Callable

from menon.rollout.posterior.target import OUTSIDE, Target
from menon.types import Graded

LIMIT = 20.0
"""Clamp of the log of an acceptance ratio."""

Cut = Callable[[Graded, float], int]
"""How many tokens of an answer a proposal keeps, by a number drawn uniformly from [0, 1)."""
Ahead = Callable[[Graded, Graded], float]
"""Log of the acceptance ratio of a state and a proposal."""


def length(state: Graded) -> int:
    """Tokens of an answer, its end included; an empty one has one place to begin anew."""
    return max(len(state.rollout.answer_tokens), 1)


def any_place(state: Graded, uniform: float) -> int:
    """A cut before any token of the answer, each with the same probability."""
    return int(uniform * length(state))


def log_lengths(state: Graded, proposal: Graded) -> float:
    """log(n / n'): the log of how much likelier `any_place` is to choose the same cut in the reverse move."""
    return math.log(length(state) / length(proposal))


def within_target(target: Target, state: Graded, proposal: Graded, correction: float = 0.0) -> float:
    """(r' - r) / beta + correction, within +-20. A proposal outside the target is never accepted, and from
    outside every proposal is."""
    new, old = target.log_weight(proposal), target.log_weight(state)
    if OUTSIDE in (new, old):
        return 0.0 if old == OUTSIDE else OUTSIDE
    return min(max(new - old + correction, -LIMIT), LIMIT)
