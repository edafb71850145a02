"""SLiC: a hinge on the margin (arXiv 2305.10425), of log-ratios to a reference as in RSO (arXiv
2309.06657)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import relu

from menon.batch import Batch
from menon.loss.pairs import ahead, check_beta, log_ratios, on_pairs, pair_metrics
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class SLiC:
    """l = max(0, 1 - beta h).

    h as in `DPO`, of sums of log-probs. A pair whose margin beta h is 1 or more has no gradient. SLiC's
    own paper compares log-probs without a reference; RSO's "hinge-norm" is this form.
    """

    beta: float = 0.1
    """Scale of the log-ratios to the reference; 1 / beta is the margin at which a pair is done."""
    kind: Literal["slic"] = "slic"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)

    def __post_init__(self) -> None:
        check_beta(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return on_pairs(relu(1 - self.beta * ahead(*log_ratios(now, batch, self))), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = log_ratios(now, batch, self)
        return pair_metrics(self.beta * preferred, self.beta * other, now, batch)
