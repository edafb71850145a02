"""The coefficient of a KL term in the loss, steered to a distance from the reference (Ziegler et al., arXiv
1909.08593)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.adaptive_kl import mean_kl, sampled_kl, steered
from menon.batch import Batch, coefficient_column
from menon.control.steer import State, steer
from menon.errors import UserError


@dataclass(frozen=True)
class KLCoefficient:
    """coefficient *= 1 + clip(KL / target - 1, -.2, .2) n / horizon after each step, KL measured as by
    `KLInReward`.

    Multiplies the coefficient of the objective's term `term`, so leave that at 1. Its state is the
    coefficient.
    """

    term: str = "kl"
    """Name of the KL term in the objective."""
    start: float = 0.001
    """The first coefficient."""
    target: float = 0.1
    """The KL that the coefficient is adapted to."""
    horizon: float = 10_000
    """Answers over which the coefficient adapts; a larger one adapts more slowly."""
    kind: Literal["kl_coefficient"] = "kl_coefficient"
    reads: ClassVar[tuple[str, ...]] = ("old_logp", "ref_logp")

    def __post_init__(self) -> None:
        if min(self.start, self.target, self.horizon) <= 0:
            raise UserError(
                f"start {self.start}, target {self.target} and horizon {self.horizon} of KLCoefficient "
                "must be positive"
            )

    @property
    def writes(self) -> tuple[str, ...]:
        return (coefficient_column(self.term),)

    def init(self) -> State:
        return {"beta": self.start}

    def __call__(self, batch: Batch, state: State) -> tuple[Batch, State]:
        after = steered(state["beta"], *mean_kl(sampled_kl(batch, self), batch), self.target, self.horizon)
        return steer(batch, self.term, state["beta"]), {"beta": after}
