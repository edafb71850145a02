"""SimPO: preferences without a reference, by the mean log-prob of a token (arXiv 2405.14734)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.pairs import ahead, check_beta, log_probs, on_pairs, pair_metrics
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class SimPO:
    """l = -log sigmoid(beta (a_w - a_l) - gamma), a = mean over the answer's tokens of log pi.

    The reward beta a is what a decoder without a length bonus maximises, and does not grow with length. gamma
    is the margin by which the preferred answer must be ahead; the paper recommends gamma / beta = .5.
    """

    beta: float = 2.0
    """Scale of the mean log-probs."""
    gamma: float = 1.0
    """Reward by which the preferred answer must be ahead."""
    kind: Literal["simpo"] = "simpo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_beta(self)
        if self.gamma < 0:
            raise UserError(f"gamma of SimPO is {self.gamma}; it is a margin, 0 or more")

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        margin_P = self.beta * ahead(*log_probs(now, batch, average=True))
        return on_pairs(-logsigmoid(margin_P - self.gamma), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = log_probs(now, batch, average=True)
        return pair_metrics(self.beta * preferred, self.beta * other, now, batch)
