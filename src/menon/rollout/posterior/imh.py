"""Independent Metropolis-Hastings: every proposal is a new answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from menon.rollout.posterior.acceptance import within_target
from menon.rollout.posterior.chains import Schedule, drawn_from, walk
from menon.rollout.posterior.drawn import Drawn
from menon.rollout.posterior.target import Target
from menon.types import Prompt


@dataclass(frozen=True)
class IndependentMH:
    """Proposes an answer of the prior and accepts it with probability min(1, exp((r' - r) / beta)).

    Exact as the chain grows; it needs no bound on the reward.
    """

    chains: int = 4
    """Chains for each prompt."""
    burn_in: int = 32
    """Steps of a chain before the first that counts."""
    thin: int = 8
    """One state in so many is a draw."""
    kind: Literal["imh"] = "imh"

    def __post_init__(self) -> None:
        Schedule(self.chains, self.burn_in, self.thin)

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        schedule = Schedule(self.chains, self.burn_in, self.thin)
        traces = walk(prompts, schedule, draws, target, lambda state, _: 0, partial(within_target, target))
        return [drawn_from(trace, schedule, draws, target) for trace in traces]
