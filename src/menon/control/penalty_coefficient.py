"""The coefficient of PPO's KL penalty, steered to how far a step should move the policy (arXiv 1707.06347,
section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.batch import Batch, coefficient_column
from menon.control.steer import State, steer
from menon.errors import UserError
from menon.types import Metric


@dataclass(frozen=True)
class PenaltyCoefficient:
    """After each step the coefficient doubles if kl/old is above 1.5 target, and halves if kl/old is below
    target / 1.5.

    kl/old is the distance that the loss `OldKL` measures, averaged over all updates of the step but the
    first; with one update per step there is no such number, and the coefficient does not change. Multiplies
    the coefficient of the objective's term `term`, so leave that at 1.
    """

    term: str = "penalty"
    """Name of the penalty term in the objective."""
    start: float = 1.0
    """The first coefficient."""
    target: float = 0.01
    """The kl/old that the coefficient is adapted to."""
    kind: Literal["penalty_coefficient"] = "penalty_coefficient"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if min(self.start, self.target) <= 0:
            raise UserError(
                f"start {self.start} and target {self.target} of PenaltyCoefficient must be positive"
            )

    @property
    def writes(self) -> tuple[str, ...]:
        return (coefficient_column(self.term),)

    def init(self) -> State:
        return {"beta": self.start}

    def __call__(self, batch: Batch, state: State) -> tuple[Batch, State]:
        return steer(batch, self.term, state["beta"]), state

    def after(self, state: State, metrics: Mapping[str, Metric]) -> State:
        if "kl/old" not in metrics:
            return state
        measured = float(metrics["kl/old"])
        factor = 2.0 if measured > 1.5 * self.target else 0.5 if measured < self.target / 1.5 else 1.0
        return {"beta": state["beta"] * factor}
