"""References that follow the policy, between steps (docs/numerics.md, 12.5)."""

from dataclasses import dataclass
from typing import Literal

from menon.errors import UserError
from menon.update.host import ModelHost


@dataclass(frozen=True)
class HardReset:
    """The reference becomes the policy after every `every` steps (DeepSeek-R1-Zero: 400; arXiv
    2501.12948)."""

    every: int = 400
    """Steps between replacements."""
    kind: Literal["hard_reset"] = "hard_reset"

    def __post_init__(self) -> None:
        _at_least_one(self)

    def __call__(self, step: int, host: ModelHost) -> None:
        if step % self.every == 0:
            host.follow("reference", "policy", 1.0)


@dataclass(frozen=True)
class MovingAverage:
    """reference <- rate * policy + (1 - rate) * reference after every `every` steps.

    ReaLHF: .001 after each; TRL (TR-DPO, arXiv 2404.09656): .6 after every 512.
    """

    rate: float = 0.001
    """Share of the policy in the new reference."""
    every: int = 1
    """Steps between updates of the reference."""
    kind: Literal["moving_average"] = "moving_average"

    def __post_init__(self) -> None:
        _at_least_one(self)
        if not 0 < self.rate <= 1:
            raise UserError(
                f"rate of the moving reference is {self.rate}; it lies above 0 and is at most 1, which is "
                "a hard reset"
            )

    def __call__(self, step: int, host: ModelHost) -> None:
        if step % self.every == 0:
            host.follow("reference", "policy", self.rate)


ReferencePart = HardReset | MovingAverage
"""The parts that a configuration file can name."""


def _at_least_one(part: ReferencePart) -> None:
    if part.every < 1:
        raise UserError(
            f"every of the moving reference is {part.every}; it counts steps and must be at least 1"
        )
