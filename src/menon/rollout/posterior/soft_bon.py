"""One of n answers by the weights of their rewards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menon.errors import at_least
from menon.rollout.posterior.bon import chosen
from menon.rollout.posterior.drawn import Drawn
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.weights import Weights, effective_size, normalised
from menon.types import Mean, Metric, Prompt


@dataclass(frozen=True)
class SoftBestOfN:
    """Each draw is one of n answers of its own, by weights softmax(r / beta): `sir` with one draw, exact as n
    grows (arXiv 2505.03156)."""

    candidates: int = 8
    """Answers of the prior to each draw: n."""
    kind: Literal["soft_bon"] = "soft_bon"

    def __post_init__(self) -> None:
        at_least(1, "candidates", self.candidates)

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        found = chosen(prompts, target, draws, self.candidates, normalised)
        return [with_size(one, weights) for one, weights in found]


def with_size(drawn: Drawn, weights: Sequence[Weights]) -> Drawn:
    """With the mean effective number of candidates of a draw, in place of the bound."""
    sizes = [effective_size(one) for one in weights]
    metrics: dict[str, Metric] = {"ess": Mean(sum(sizes), len(sizes)), "tokens": drawn.metrics["tokens"]}
    return Drawn(drawn.prompt, drawn.draws, drawn.prior, metrics, drawn.note)
