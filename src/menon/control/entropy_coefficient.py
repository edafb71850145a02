"""The coefficient of an entropy bonus, steered to an entropy (Skywork-OR1, arXiv 2505.22312)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from menon import ragged
from menon.batch import Batch, coefficient_column
from menon.control.steer import State, steer
from menon.errors import UserError


@dataclass(frozen=True)
class EntropyCoefficient:
    """H is the mean entropy of a step's trained tokens as they were sampled. If H <= target, the bonus counts
    with the coefficient, which then grows by `change`; else the bonus does not count, and the coefficient
    shrinks by `change`, but not below 0.

    Multiplies the coefficient of the objective's term `term` (a loss `EntropyBonus`), so leave that at 1. The
    coefficient changes once per step; the published rule changes it with every update, so divide `change` by
    the updates per step. The right target depends on the model.
    """

    target: float
    """Mean entropy in nats below which the bonus counts."""
    term: str = "entropy"
    """Name of the entropy term in the objective."""
    start: float = 0.01
    """The first coefficient."""
    change: float = 0.005
    """By how much the coefficient moves in a step."""
    kind: Literal["entropy_coefficient"] = "entropy_coefficient"
    reads: ClassVar[tuple[str, ...]] = ("entropy",)

    def __post_init__(self) -> None:
        if self.target <= 0 or self.start < 0 or self.change <= 0:
            raise UserError(
                f"target {self.target} and change {self.change} of EntropyCoefficient must be positive, "
                f"start {self.start} 0 or more"
            )

    @property
    def writes(self) -> tuple[str, ...]:
        return (coefficient_column(self.term),)

    def init(self) -> State:
        return {"coefficient": self.start}

    def __call__(self, batch: Batch, state: State) -> tuple[Batch, State]:
        low = float(ragged.masked_mean(batch.need("entropy", self), batch.trained)) <= self.target
        number = state["coefficient"]
        after = max(0.0, number + (self.change if low else -self.change))
        return steer(batch, self.term, number if low else 0.0), {"coefficient": after}
