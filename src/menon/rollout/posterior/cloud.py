"""Particles of sequential Monte Carlo: their weights, and how they multiply."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from menon.rollout.posterior.weights import Weights, effective_size, log_mean_exp, normalised
from menon.rollout.posterior.writer import tokens_of
from menon.types import Graded, Prompt


@dataclass
class Cloud:
    """The particles of one prompt."""

    prompt: Prompt
    particles: list[Graded]
    twist: NDArray[np.float64] = field(init=False)
    """[particles] log twist: the estimate of log E exp(r / beta) over all that may follow."""
    base: NDArray[np.float64] = field(init=False)
    """[particles] log twist when it was last resampled; 0 at the start."""
    log_z: float = 0.0
    """log Z, estimated by the resamplings so far."""
    tokens: int = 0
    """Tokens that were written."""

    def __post_init__(self) -> None:
        self.twist = self.base = np.zeros(len(self.particles))
        self.tokens = tokens_of(self.particles)

    @property
    def logs(self) -> NDArray[np.float64]:
        """[particles] log weights."""
        return self.twist - self.base

    def weights(self) -> Weights | None:
        return normalised(self.logs.tolist())

    def grow(self, particles: list[Graded]) -> None:
        """Takes the same particles with more text."""
        self.tokens += tokens_of(particles) - tokens_of(self.particles)
        self.particles = particles

    def resample(self, random: np.random.Generator) -> None:
        """Replaces the particles by draws with one random number (systematic resampling), where 1 / sum w^2
        is below half their number."""
        weights, count = self.weights(), len(self.particles)
        if weights is None or effective_size(weights) >= count / 2:
            return
        places = (np.arange(count) + random.random()) / count
        chosen = np.searchsorted(np.cumsum(weights), places).clip(max=count - 1)
        self.log_z += log_mean_exp(self.logs.tolist())
        self.particles = [self.particles[place] for place in chosen.tolist()]
        self.twist = self.base = self.twist[chosen]
