"""What a method gives: draws, their weights, and numbers that say how good they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from menon.rollout.posterior.target import Target
from menon.types import Graded, Metric, Prompt, Sum


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
