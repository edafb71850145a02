"""What is sampled from: the optimum of a reward under a KL penalty."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from menon.errors import UserError
from menon.rollout.posterior.writer import Writer
from menon.rollout.protocols import Grade, Sampler
from menon.streams import stream
from menon.types import Floats, Graded, Prompt, Rollout, Sampling

Truncated = Literal["reject", "score"]
OUTSIDE = -math.inf
"""The log weight of an answer that the target cannot give."""


@dataclass(frozen=True)
class Target:
    """pi*(y | x) = pi(y | x) exp(r(x, y) / beta) / Z(x): the maximum of E[r] - beta KL(p || pi) over all p
    (arXiv 2205.11275), with the sampler's own distribution pi as the prior.

    An answer whose grader failed has probability 0, and so has one that was cut at the limit, unless
    `truncated` is "score": then it counts with the reward that it got. UserError: beta is not positive, or
    the sampler is greedy.
    """

    sampler: Sampler
    grade: Grade
    sampling: Sampling = field(default_factory=Sampling)
    beta: float = 0.1
    """Weight of the prior: a reward counts r / beta nats."""
    truncated: Truncated = "reject"
    seed: int = 0
    """Seed of what is accepted and chosen; texts are drawn by that of the sampler."""
    untempered: Callable[[Sequence[Rollout]], list[Floats]] | None = None
    """The model's log-probs at temperature 1 of every token of each sequence, for methods that draw at
    another."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise UserError(f"beta is {self.beta}; it weighs the model against the reward and is positive")
        if self.sampling.temperature == 0:
            raise UserError("at temperature 0 there is one answer only; set temperature=1 to draw from many")

    def log_weight(self, graded: Graded) -> float:
        """r / beta, the log of how much likelier the answer is under the target, up to a constant of the
        prompt; `OUTSIDE` for an answer that the target cannot give."""
        score = graded.verdict.score
        cut = graded.rollout.finish != "stop" and self.truncated == "reject"
        return OUTSIDE if math.isnan(score) or cut else score / self.beta

    def random(self, purpose: str, prompt: Prompt, *name: int) -> np.random.Generator:
        """The generator of one decision."""
        return stream(self.seed, f"posterior/{purpose}", prompt.index, *name)

    @contextmanager
    def open(self) -> Iterator[Writer]:
        """Writes answers; the sampler keeps what it has computed of them until the end of the `with`."""
        with self.sampler.open(keep=True) as opened:
            yield Writer(opened, self.grade, self.sampling)
