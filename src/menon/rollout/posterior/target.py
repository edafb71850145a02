"""What is sampled from, and what a method gives: draws from the optimum of a reward under a KL penalty."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from menon.errors import UserError
from menon.rollout.posterior.writer import Writer
from menon.rollout.protocols import Grade, Sampler
from menon.streams import stream
from menon.types import Floats, Graded, Metric, Prompt, Rollout, Sampling, Sum

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


@dataclass(frozen=True)
class Draw:
    """One answer from the target."""

    graded: Graded
    """Every token after the prompt is an action, also where the beginning was kept from another answer."""
    weight: float
    """Its share of the draws to its prompt; they add up to 1."""
    chain: int = 0
    """Number of the chain, or of the draw."""
    step: int = 0
    """Moves of its chain before it; for independent draws, the number of the answer that was taken."""


@dataclass(frozen=True)
class Drawn:
    """The draws to one prompt. Methods that fall short give fewer than were asked and say why in `note`."""

    prompt: Prompt
    draws: tuple[Draw, ...]
    prior: tuple[Graded, ...]
    """Independent answers of the prior, which were written on the way."""
    metrics: Mapping[str, Metric]
    """tokens: how many the model wrote. acceptance: accepted proposals. ess: effective sample size. log_z:
    log Z. autocorrelation: of the reward, from one state of a chain to the next. kl_bound: bound on the KL
    to the prior, in nats."""
    note: str = ""


class Posterior(Protocol):
    """A method: a frozen dataclass that draws from the target, or near it."""

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        """`draws` answers to each prompt, in the order of the prompts. Results do not depend on which other
        prompts are asked, as the sampler's do not."""
        ...


def equal(
    graded: Sequence[Graded], chains: Sequence[int] | None = None, steps: Sequence[int] | None = None
) -> tuple[Draw, ...]:
    """Draws of equal weight; without numbers of chains and steps, those of their order."""
    numbers = range(len(graded))
    return tuple(
        Draw(one, 1 / len(graded), chain, step)
        for one, chain, step in zip(graded, chains or numbers, steps or numbers, strict=True)
    )


def tokens_in(graded: Sequence[Graded]) -> Sum:
    """Tokens of whole answers that the model wrote."""
    return Sum(sum(len(one.rollout.answer_tokens) for one in graded))


def too_few(found: int, draws: int, why: str) -> str:
    """The sentence for a prompt with fewer draws than were asked; "" if there are enough."""
    return "" if found >= draws else f"{found} of {draws} draws {why}"
