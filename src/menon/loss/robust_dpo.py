"""Robust DPO: an unbiased estimate of DPO's loss from labels that are wrong with a known probability (arXiv
2403.00409, section 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from menon.batch import Batch
from menon.loss.pairs import ahead, check_beta, check_smoothing, log_ratios, on_pairs, pair_metrics
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class RobustDPO:
    """l = (-(1 - e) log sigmoid(beta h) + e log sigmoid(-beta h)) / (1 - 2 e), e = `label_smoothing`.

    h as in `DPO`, of sums of log-probs. If labels are flipped with probability e, the mean of l over the
    flips is DPO's loss of the right label. l can be negative, and it falls without bound in h, where that of
    `cdpo` has a minimum.
    """

    beta: float = 0.1
    """Scale of the log-ratios to the reference."""
    label_smoothing: float = 0.1
    """Probability that a preference is the wrong way round."""
    kind: Literal["robust_dpo"] = "robust_dpo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)

    def __post_init__(self) -> None:
        check_beta(self)
        check_smoothing(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        margin_P, e = self.beta * ahead(*log_ratios(now, batch, self)), self.label_smoothing
        right, wrong = -logsigmoid(margin_P), -logsigmoid(-margin_P)
        return on_pairs(((1 - e) * right - e * wrong) / (1 - 2 * e) if e else right, batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = log_ratios(now, batch, self)
        return pair_metrics(self.beta * preferred, self.beta * other, now, batch)
