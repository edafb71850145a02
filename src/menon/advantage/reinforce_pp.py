"""REINFORCE++ (arXiv 2501.03262)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.advantage.reinforce import Reinforce
from menon.advantage.whiten import Scope, Whiten
from menon.batch import Batch


@dataclass(frozen=True)
class ReinforcePP:
    """The reward that is still to come, whitened over the step: `Reinforce`, then `Whiten`. No groups, no
    critic.

    Goes with `KLInReward` before it. `whiten_scope`: "token" lets long answers weigh more in mean and
    deviation, "sequence" lets each answer weigh the same. A step of equal rewards gives 0; empty answers and
    those whose grader failed are in no statistic; a truncated answer counts with the reward it got.
    """

    gamma: float = 1.0
    """Discount of later rewards, per token; 1: none."""
    whiten_scope: Scope = "token"
    """Whether mean and deviation count each token, or each answer once."""
    kind: Literal["reinforce_pp"] = "reinforce_pp"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __post_init__(self) -> None:
        Reinforce(self.gamma)  # refuses what is no discount

    def __call__(self, batch: Batch) -> Batch:
        return Whiten(scope=self.whiten_scope)(Reinforce(self.gamma)(batch))
