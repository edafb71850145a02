"""REINFORCE++ with a baseline of the group (arXiv 2501.03262, section 3)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.advantage.grpo import GRPO
from menon.advantage.whiten import Scope, Whiten
from menon.batch import Batch


@dataclass(frozen=True)
class ReinforcePPBaseline:
    """a_i = R_i - mean of the group, then whitened over the step: `GRPO` without a deviation, then `Whiten`.

    With `whiten_scope` "token" (as published) long answers weigh more in mean and deviation, so a group of
    equal rewards gets an advantage that is not 0 where the mean over tokens is not; "sequence" lets each
    answer weigh the same. A group of one gives 0 before whitening. Empty answers count in their group's mean
    only; answers whose grader failed count nowhere.
    """

    whiten_scope: Scope = "token"
    """Whether mean and deviation count each token, or each answer once."""
    kind: Literal["reinforce_pp_baseline"] = "reinforce_pp_baseline"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Batch:
        return Whiten(scope=self.whiten_scope)(GRPO(std_mode="none")(batch))
