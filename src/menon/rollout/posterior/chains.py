"""Markov chains of answers: how they move, and which of their states are draws."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from menon.errors import at_least
from menon.rollout.posterior.mixing import mixing
from menon.rollout.posterior.target import OUTSIDE, Drawn, Target, equal, too_few
from menon.rollout.posterior.writer import Ending, Writer
from menon.types import Graded, Mean, Metric, Prompt, Sum

LIMIT = 20.0
"""Clamp of the log of an acceptance ratio."""

Cut = Callable[[Graded, float], int]
"""How many tokens of an answer a proposal keeps, by a number drawn uniformly from [0, 1)."""
Ahead = Callable[[Graded, Graded], float]
"""Log of the acceptance ratio of a state and a proposal."""


@dataclass(frozen=True)
class Schedule:
    """Which states of its chains a method gives as draws."""

    chains: int
    burn_in: int
    thin: int

    def __post_init__(self) -> None:
        for name in ("chains", "thin"):
            at_least(1, name, getattr(self, name))
        at_least(0, "burn_in", self.burn_in)

    def steps(self, draws: int) -> list[int]:
        """The steps whose states are draws: one in `thin` after `burn_in`."""
        each = -(-draws // self.chains)
        return [self.burn_in + self.thin * (number + 1) for number in range(each)]


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

    @staticmethod
    def begun(prompt: Prompt, group: Sequence[Graded]) -> "Trace":
        return Trace(prompt, [list(group)], [], sum(len(one.rollout.answer_tokens) for one in group))


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
        trace.tokens += sum(len(new.rollout.answer_tokens) for _, new in pairs)
        trace.tokens -= sum(move.cut for move in mine)
        trace.states.append([new if yes else state for (state, new), yes in zip(pairs, taken, strict=True)])
        trace.accepted.append(taken)


def walk(
    prompts: Sequence[Prompt], schedule: Schedule, draws: int, target: Target, cut: Cut, ahead: Ahead
) -> list[Trace]:
    """The chains of all prompts, moved as often as the schedule needs."""
    with target.open() as writer:
        first = writer.groups(prompts, schedule.chains)
        traces = [Trace.begun(prompt, group) for prompt, group in zip(prompts, first, strict=True)]
        for _ in range(schedule.steps(draws)[-1]):
            advance(traces, writer, target, cut, ahead)
    return traces


def drawn_from(trace: Trace, schedule: Schedule, draws: int, target: Target) -> Drawn:
    """The draws of the chains of one prompt, in the order of steps, then of chains. A chain that has found no
    answer that the target can give yields none."""
    places = [(step, chain) for step in schedule.steps(draws) for chain in range(schedule.chains)][:draws]
    inside = [(s, c) for s, c in places if target.log_weight(trace.states[s][c]) > OUTSIDE]
    answers = [trace.states[step][chain] for step, chain in inside]
    taken = trace.accepted[schedule.burn_in :]
    metrics: dict[str, Metric] = {
        "acceptance": Mean(sum(map(sum, taken)), sum(map(len, taken))),
        "tokens": Sum(trace.tokens),
        **mixing(trace.states[schedule.burn_in + 1 :], draws),
    }
    why = "have a state that the target can give; raise method.burn_in or max_new_tokens"
    draws_of = equal(answers, [chain for _, chain in inside], [step for step, _ in inside])
    return Drawn(trace.prompt, draws_of, tuple(trace.states[0]), metrics, too_few(len(inside), draws, why))
