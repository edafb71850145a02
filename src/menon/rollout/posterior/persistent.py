"""Chains that go on from step to step of a run, while the target that they draw from is learned."""

from collections.abc import Sequence

from menon.rollout.posterior.acceptance import any_place
from menon.rollout.posterior.moves import Trace, advance
from menon.rollout.posterior.suffix_mh import SuffixMH
from menon.rollout.posterior.target import Target
from menon.types import Graded


def go_on(states: Sequence[Graded], before: Sequence[int], moves: int, target: Target) -> list[Graded]:
    """The states of the chains of `suffix_mh`, one to a prompt, after `moves` moves of each. A chain has made
    `before` moves already; the number of a move names its random streams, so that none comes twice."""
    traces = [
        Trace(state.rollout.prompt, [[state]], [], 0, made)
        for state, made in zip(states, before, strict=True)
    ]
    ahead = SuffixMH().ahead(target)
    with target.open() as writer:
        for _ in range(moves):
            advance(traces, writer, target, any_place, ahead)
    return [trace.states[-1][0] for trace in traces]
