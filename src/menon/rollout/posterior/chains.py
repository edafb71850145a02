"""Chains from their first states to draws: how long they are, and which of their states count."""

from collections.abc import Sequence
from dataclasses import dataclass

from menon.errors import at_least
from menon.rollout.posterior.acceptance import Ahead, Cut
from menon.rollout.posterior.drawn import Drawn, equal, too_few
from menon.rollout.posterior.mixing import mixing
from menon.rollout.posterior.moves import Trace, advance
from menon.rollout.posterior.target import OUTSIDE, Target
from menon.types import Mean, Metric, Prompt, Sum


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
    draws_of = equal(answers, [chain for _, chain in inside], [trace.before + step for step, _ in inside])
    return Drawn(trace.prompt, draws_of, tuple(trace.states[0]), metrics, too_few(len(inside), draws, why))
