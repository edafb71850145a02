"""Markov chains of answers, and how they move."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from menon.rollout.posterior.acceptance import Ahead, Cut
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.writer import Ending, Writer, tokens_of
from menon.types import Graded, Prompt


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
