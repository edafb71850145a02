"""The settings of an adapter: small matrices that learn beside the frozen weights of a model."""

import math
from dataclasses import dataclass

from menon.errors import UserError, at_least


@dataclass(frozen=True)
class Adapter:
    """LoRA (arXiv 2106.09685): y = W x + (alpha / rank) B A x in linear layers, of which only A [rank, in]
    and B [out, rank] learn.

    A is drawn from U(-1, 1) / sqrt(in) and B begins at 0, so that the policy begins as its model. There is no
    dropout: a policy is trained on the distribution that it was sampled from. The factor alpha / rank makes
    the best learning rate nearly the same for every rank; it is about ten times that of training all weights
    ("LoRA Without Regret", Schulman and Thinking Machines Lab, 2025, thinkingmachines.ai/blog/lora).
    """

    rank: int = 8
    """Rows of A and columns of B."""
    alpha: float = 32.0
    """B A is multiplied by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Linear layers by the ends of their names, like q_proj. (): all but the output over the vocabulary."""

    def __post_init__(self) -> None:
        at_least(1, "adapter.rank", self.rank)
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise UserError(f"adapter.alpha is {self.alpha}; it must be a finite positive number")
        if "" in self.targets:
            raise UserError("adapter.targets holds an empty name; name linear layers, like q_proj")
