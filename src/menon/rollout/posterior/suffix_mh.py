"""Metropolis-Hastings that keeps a beginning and writes a new ending (QUEST, arXiv 2406.00049; QAlign, arXiv
2504.03790)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menon.rollout.posterior.acceptance import Ahead, any_place, log_lengths, within_target
from menon.rollout.posterior.chains import Schedule, drawn_from, walk
from menon.rollout.posterior.drawn import Drawn
from menon.rollout.posterior.target import Target
from menon.types import Prompt


@dataclass(frozen=True)
class SuffixMH:
    """An answer of n tokens keeps its first i, i uniform from 0 to n - 1, and the prior writes the rest: n'
    tokens in all. Accepted with probability min(1, exp((r' - r) / beta + log(n / n'))).

    The prior cancels, because it wrote the ending; n / n' corrects for the choice of i, which the
    reverse move makes among n' places.
    Exact as the chain grows. A proposal costs about half of an answer, and it keeps what was good at the
    beginning. In a target without truncated answers a chain that begins with one takes every proposal until
    an answer ends by itself.
    """

    chains: int = 4
    """Chains for each prompt."""
    burn_in: int = 32
    """Steps of a chain before the first that counts."""
    thin: int = 8
    """One state in so many is a draw."""
    kind: Literal["suffix_mh"] = "suffix_mh"

    def __post_init__(self) -> None:
        Schedule(self.chains, self.burn_in, self.thin)

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        schedule = Schedule(self.chains, self.burn_in, self.thin)
        traces = walk(prompts, schedule, draws, target, any_place, self.ahead(target))
        return [drawn_from(trace, schedule, draws, target) for trace in traces]

    def ahead(self, target: Target) -> Ahead:
        """The log of the acceptance ratio under this target."""
        return lambda state, new: within_target(target, state, new, log_lengths(state, new))
