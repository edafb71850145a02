"""How an update changes the weights: the settings of AdamW and the learning rate of each update."""

import math
from dataclasses import dataclass
from typing import Literal

from menon.errors import UserError


@dataclass(frozen=True)
class Optimiser:
    """AdamW (Loshchilov and Hutter, 2019) with warm-up, a schedule per update and a clip of the gradient's
    norm.

    The defaults are those of Open-Reasoner-Zero, except for the learning rate, which is for a model of a
    million weights.
    """

    learning_rate: float = 1e-4
    """The full rate, after the warm-up. Recipes set their own."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the averages of the gradient and of its square."""
    eps: float = 1e-8
    """Added to the root of the squares' average."""
    weight_decay: float = 0.0
    """Decoupled from the gradient, as in AdamW."""
    warmup_updates: int = 0
    """Updates in which the rate rises linearly. The first rate is not zero, the last is the full rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the rate changes after the warm-up."""
    total_updates: int = 0
    """The update at which a falling schedule ends. The rate is constant after it."""
    final_fraction: float = 0.0
    """Last rate of a falling schedule, as a share of the full one."""
    clip_norm: float = 1.0
    """Largest norm of the whole gradient; 0 is off."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "eps", "weight_decay", "warmup_updates", "total_updates", "clip_norm"):
            number = getattr(self, name)
            if not (math.isfinite(number) and number >= 0):
                raise UserError(f"{name} is {number}; it must be a finite number that is not negative")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"betas are {self.betas}; each must be at least 0 and below 1")
        if not 0 <= self.final_fraction <= 1:
            raise UserError(f"final_fraction is {self.final_fraction}; it must lie between 0 and 1")
        if self.schedule != "constant" and self.total_updates <= self.warmup_updates:
            raise UserError(
                f"a {self.schedule} schedule needs total_updates above warmup_updates "
                f"({self.total_updates} against {self.warmup_updates}); set total_updates to the updates "
                "of the whole run"
            )


@dataclass(frozen=True)
class NaturalGradient:
    """TRPO's step in place of AdamW's. With s the direction found by conjugate gradient and F the Fisher
    matrix, the step is the largest of sqrt(2 max_kl / s'Fs) s, times `shrink` as often as it takes, that
    lowers the loss and stays within `max_kl`; if none of `tries` does, the weights stay as they are."""

    max_kl: float = 0.01
    """Bound on KL(pi_old || pi). It is over the vocabulary, averaged over the trained tokens of an update."""
    damping: float = 0.1
    """Added to the diagonal of the Fisher matrix."""
    iterations: int = 10
    """Iterations of conjugate gradient."""
    shrink: float = 0.8
    """Factor by which a step that is too long gets shorter."""
    tries: int = 10
    """Most step lengths that are tried."""

    def __post_init__(self) -> None:
        if (
            self.max_kl <= 0
            or self.damping < 0
            or self.iterations < 1
            or self.tries < 1
            or not 0 < self.shrink < 1
        ):
            raise UserError(
                "of a natural gradient, max_kl must be positive, damping 0 or more, iterations and tries "
                "at least 1, and shrink "
                "between 0 and 1"
            )


def rate(optimiser: Optimiser, updates: int) -> float:
    """The learning rate of the update that follows `updates` earlier ones.

    >>> [rate(Optimiser(1.0, warmup_updates=2, schedule="linear", total_updates=6), n) for n in range(8)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    full, warmup = optimiser.learning_rate, optimiser.warmup_updates
    if updates < warmup:
        return full * (updates + 1) / warmup
    if optimiser.schedule == "constant":
        return full
    done = min(1.0, (updates - warmup) / (optimiser.total_updates - warmup))
    left = 1 - done if optimiser.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return full * (optimiser.final_fraction + (1 - optimiser.final_fraction) * left)
