"""How Markov chains of answers move: where a proposal cuts, and when it is accepted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from menon.rollout.posterior.target import OUTSIDE, Target
from menon.rollout.posterior.writer import Ending, Writer, tokens_of
from menon.types import Graded, Prompt

LIMIT = 20.0
"""Clamp of the log of an acceptance ratio."""

Cut = Callable[[Graded, float], int]
"""How many tokens of an answer a proposal keeps, by a number drawn uniformly from [0, 1)."""
Ahead = Callable[[Graded, Graded], float]
"""Log of the acceptance ratio of a state and a proposal."""


@dataclass
class Trace:
    """The chains of one prompt, which move together."""

    prompt: Prompt
    states: list[list[Graded]]
    """[steps + 1][chains], from the first ones, which the prior wrote."""
    accepted: list[list[bool]]
    """[steps][chains]."""
    tokens: int
    """Tokens that were written."""
    before: int = 0
    """Moves that the chains made before the first of these states."""

    @property
    def step(self) -> int:
        """The number of the next move, which names its random streams."""
        return self.before + len(self.states)

    def settled(self) -> "Trace":
        """The same chains, from their newest states on."""
        return Trace(self.prompt, [self.states[-1]], [], self.tokens, self.step - 1)

    @staticmethod
    def begun(prompt: Prompt, group: Sequence[Graded]) -> "Trace":
        return Trace(prompt, [list(group)], [], tokens_of(group))


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


def advance(
    traces: Sequence[Trace], writer: Writer, target: Target, cut: Cut, ahead: Ahead, limit: int | None = None
) -> None:
    """Moves every chain once, in one call of the sampler; answers have at most `limit` tokens."""
    moves, uniforms = [], []
    for trace in traces:
        step, states = trace.step, trace.states[-1]
        where, accept = target.random("move", trace.prompt, step).random((2, len(states)))
        uniforms.append(accept.tolist())
        moves.append(
            [
                Ending(state, cut(state, uniform), (step,), chain)
                for chain, (state, uniform) in enumerate(zip(states, where.tolist(), strict=True))
            ]
        )
    proposals = iter(writer.endings([move for each in moves for move in each], limit))
    for trace, mine, accept in zip(traces, moves, uniforms, strict=True):
        pairs = [(move.start, next(proposals)) for move in mine]
        taken = [
            math.log1p(-uniform) < ahead(state, new)
            for (state, new), uniform in zip(pairs, accept, strict=True)
        ]
        trace.tokens += tokens_of([new for _, new in pairs]) - sum(move.cut for move in mine)
        trace.states.append([new if yes else state for (state, new), yes in zip(pairs, taken, strict=True)])
        trace.accepted.append(taken)
