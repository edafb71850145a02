"""References that follow the policy, between steps (spec 2.15)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from menon.errors import UserError
from menon.update.protocols import Models, Scorer


@runtime_checkable
class HasWeights(Scorer, Protocol):
    """A scorer whose weights can be reached from this process."""

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones, under the policy's names."""
        ...


@dataclass(frozen=True)
class HardReset:
    """The reference becomes the policy after every `every` steps (DeepSeek-R1-Zero: 400; arXiv
    2501.12948)."""

    every: int = 400
    kind: Literal["hard_reset"] = "hard_reset"

    def __post_init__(self) -> None:
        _at_least_one(self)

    def __call__(self, step: int, models: Models) -> None:
        if step % self.every == 0:
            blend(models, 1.0)


@dataclass(frozen=True)
class MovingAverage:
    """reference <- rate * policy + (1 - rate) * reference after every `every` steps.

    ReaLHF: .001 after each; TRL (TR-DPO, arXiv 2404.09656): .6 after every 512.
    """

    rate: float = 0.001
    every: int = 1
    kind: Literal["moving_average"] = "moving_average"

    def __post_init__(self) -> None:
        _at_least_one(self)
        if not 0 < self.rate <= 1:
            raise UserError(
                f"rate of the moving reference is {self.rate}; it lies above 0 and is at most 1, which is "
                "a hard reset"
            )

    def __call__(self, step: int, models: Models) -> None:
        if step % self.every == 0:
            blend(models, self.rate)


ReferencePart = HardReset | MovingAverage
"""What a configuration file can name."""


@torch.no_grad()
def blend(models: Models, rate: float) -> None:
    """Moves the reference's weights towards the policy's, in place. Weights of the policy alone (a value
    head) stay out."""
    policy, reference = weights_of(models, "policy"), weights_of(models, "reference")
    for name, weight in reference.items():
        if rate == 1:
            weight.copy_(policy[name])
        else:
            weight.lerp_(policy[name].to(weight), rate)


def weights_of(models: Models, role: str) -> Mapping[str, Tensor]:
    """UserError where that model is not in this process or not there at all."""
    model = models.get(role)
    if not isinstance(model, HasWeights):
        raise UserError(
            f"a reference that follows the policy needs a {role} in this process; set reference=frozen"
        )
    return model.weights()


def _at_least_one(part: ReferencePart) -> None:
    if part.every < 1:
        raise UserError(
            f"every of the moving reference is {part.every}; it counts steps and must be at least 1"
        )
