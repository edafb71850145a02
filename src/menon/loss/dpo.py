"""Direct preference optimisation (arXiv 2305.18290, equation 7); with label smoothing its conservative form
(cDPO)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.loss.pairs import pairs_of
from menon.types import Mean, Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class DPO:
    """l = -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h), e = `label_smoothing`.

    h = [log pi(y_w) - log ref(y_w)] - [log pi(y_l) - log ref(y_l)], log-probs summed over the tokens of the
    preferred answer y_w (acc 1) and of the other y_l (acc 0) of one pair. One number per pair, on the last
    action token of y_w; aggregation `PairMean`. dpo/margin is the mean of beta h, dpo/accuracy the share of
    pairs where it is positive.
    """

    beta: float = 0.1
    """Scale of the log-ratios to the reference."""
    label_smoothing: float = 0.0
    """Probability that a preference is the wrong way round."""
    kind: Literal["dpo"] = "dpo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)

    def __post_init__(self) -> None:
        if self.beta <= 0 or not 0 <= self.label_smoothing <= 0.5:
            raise UserError(
                f"beta {self.beta} of DPO must be positive and label_smoothing {self.label_smoothing} "
                "between 0 and .5,"
                " the share of labels that are wrong"
            )

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        margin_P, place_P = self._margins(now, batch)
        smoothing = self.label_smoothing
        loss_P = -(1 - smoothing) * logsigmoid(margin_P) - smoothing * logsigmoid(-margin_P)
        return loss_P.new_zeros(batch.num_tokens).index_add(0, place_P, loss_P)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        margin_P, _ = self._margins(now, batch)
        return {
            "dpo/accuracy": Mean((margin_P > 0).sum(), len(margin_P)),
            "dpo/margin": Mean(margin_P.sum(), len(margin_P)),
        }

    def _margins(self, now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """[P] beta h, and the indices of the preferred sequences' last action tokens."""
        preferred, other = pairs_of(batch)
        gain = ragged.difference(now["logp"], batch.need("ref_logp", self), batch.trained)
        gain_S = ragged.sequence_sum(gain, batch.offset)
        return self.beta * (gain_S[preferred] - gain_S[other]), ragged.last(batch.trained, batch.offset)[
            preferred
        ]
