"""Direct preference optimisation (arXiv 2305.18290, equation 7); with label smoothing its conservative form
(cDPO)."""

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
class DPO:
    """l = -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h), e = `label_smoothing`.

    h = [log pi(y_w) - log ref(y_w)] - [log pi(y_l) - log ref(y_l)], log-probs summed over the tokens of the
    preferred answer y_w (acc 1) and of the other y_l (acc 0) of one pair; with `average` their means, which
    do not grow with length. One number per pair, on the last action token of y_w; aggregation `PairMean`.
    The reward of an answer in the metrics pairs/* is beta (log pi - log ref).
    """

    beta: float = 0.1
    """Scale of the log-ratios to the reference."""
    label_smoothing: float = 0.0
    """Probability that a preference is the wrong way round."""
    average: bool = False
    """Mean log-ratio per token instead of the sum over the answer."""
    kind: Literal["dpo"] = "dpo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)

    def __post_init__(self) -> None:
        check_beta(self)
        check_smoothing(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        margin_P = self.beta * ahead(*log_ratios(now, batch, self, self.average))
        right, wrong = -logsigmoid(margin_P), -logsigmoid(-margin_P)
        smoothing = self.label_smoothing
        return on_pairs((1 - smoothing) * right + smoothing * wrong if smoothing else right, batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = log_ratios(now, batch, self, self.average)
        return pair_metrics(self.beta * preferred, self.beta * other, now, batch)
