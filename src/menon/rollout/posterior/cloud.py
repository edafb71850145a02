"""Particles of sequential Monte Carlo: their growth, their weights, and how they multiply."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from menon.rollout.posterior.target import Target
from menon.rollout.posterior.weights import Weights, effective_size, log_mean_exp, normalised
from menon.rollout.posterior.writer import Ending, Writer, is_open
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
        self.tokens = self.size

    @property
    def size(self) -> int:
        """Tokens of the particles."""
        return sum(len(one.rollout.answer_tokens) for one in self.particles)

    @property
    def logs(self) -> NDArray[np.float64]:
        """[particles] log weights."""
        return self.twist - self.base

    def weights(self) -> Weights | None:
        return normalised(self.logs.tolist())

    def grow(self, particles: list[Graded]) -> None:
        """Takes the same particles with more text."""
        before, self.particles = self.size, particles
        self.tokens += self.size - before

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


def look_ahead(
    clouds: Sequence[Cloud], writer: Writer, target: Target, lookahead: int, limit: int, most: int
) -> None:
    """Sets every twist: of beginnings of `limit` tokens by new endings, of whole answers by their reward."""
    moves = [
        [
            Ending(one, limit, (1, limit, number), place)
            for place, one in enumerate(cloud.particles)
            if is_open(one, most)
            for number in range(lookahead)
        ]
        for cloud in clouds
    ]
    endings = iter(writer.endings([move for each in moves for move in each]))
    for cloud, mine in zip(clouds, moves, strict=True):
        guesses: dict[int, list[float]] = {}
        for move in mine:
            end = next(endings)
            score = end.verdict.score
            guesses.setdefault(move.chain, []).append(0.0 if math.isnan(score) else score / target.beta)
            cloud.tokens += len(end.rollout.answer_tokens) - limit
        cloud.twist = np.array(
            [
                log_mean_exp(guesses[place]) if place in guesses else target.log_weight(one)
                for place, one in enumerate(cloud.particles)
            ]
        )
