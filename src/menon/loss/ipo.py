"""Identity preference optimisation: a margin of fixed size (arXiv 2310.12036, equation 17)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.batch import Batch
from menon.loss.pairs import ahead, check_beta, log_ratios, on_pairs, pair_metrics
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class IPO:
    """l = (h - 1 / (2 beta))^2.

    h as in `DPO`, of sums of log-probs; with `average` of means per token. The margin that it aims at is
    finite, so that even preferences without exception do not drive the policy away from the reference. (The
    loss `ipo` of prime-rl is another: a trust region on probabilities, here `dppo`.)
    """

    beta: float = 0.1
    """Half of the inverse of the margin that is aimed at: the weight of the reference."""
    average: bool = False
    """Mean log-ratio per token instead of the sum over the answer."""
    kind: Literal["ipo"] = "ipo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)

    def __post_init__(self) -> None:
        check_beta(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        margin_P = ahead(*log_ratios(now, batch, self, self.average))
        return on_pairs((margin_P - 1 / (2 * self.beta)).square(), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = log_ratios(now, batch, self, self.average)
        return pair_metrics(self.beta * preferred, self.beta * other, now, batch)
