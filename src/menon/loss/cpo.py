"""Contrastive preference optimisation: DPO with a uniform reference (arXiv 2401.08417, section 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from menon.batch import Batch
from menon.loss.pairs import ahead, check_beta, log_probs, on_pairs, pair_metrics
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class CPO:
    """l = -log sigmoid(beta (log pi(y_w) - log pi(y_l))), log-probs summed over the answers' tokens.

    The paper adds the NLL of y_w: a second term with the loss `nll`, the selection `correct` and the
    aggregation `pair_mean`.
    """

    beta: float = 0.1
    """Scale of the log-probs."""
    kind: Literal["cpo"] = "cpo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_beta(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return on_pairs(-logsigmoid(self.beta * ahead(*log_probs(now, batch))), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = log_probs(now, batch)
        return pair_metrics(self.beta * preferred, self.beta * other, now, batch)
