"""The odds-ratio term of ORPO, which has no reference (arXiv 2403.07691, equations 4 and 7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.pairs import ahead, log_probs, on_pairs, pair_metrics
from menon.types import Metric, Unit
from menon.update.protocols import Need


def log_odds(logp: Tensor) -> Tensor:
    """log(p / (1 - p)) of log p. A p that rounds to 1 counts as 1 - eps of its precision, without a gradient:
    its odds would be infinite."""
    logp = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    # log(1 - p) from expm1, so that nothing cancels near p = 1; a small p is lost beside log p anyhow.
    return logp - torch.log(-torch.expm1(logp))


@dataclass(frozen=True)
class ORPO:
    """l = -lam log sigmoid(o_w - o_l), o = log(p / (1 - p)), log p = mean over the answer's tokens of log pi.

    The paper adds the NLL of y_w: a second term with the loss `nll`, the selection `correct` and the
    aggregation `pair_mean_token_mean`. The reward in the metrics pairs/* is lam times the mean log-prob.
    """

    lam: float = 0.1
    """Weight of the term beside an NLL of weight 1."""
    kind: Literal["orpo"] = "orpo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not self.lam > 0:
            raise UserError(f"lam of ORPO is {self.lam}; it weighs the term and must be positive")

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        preferred, other = log_probs(now, batch, average=True)
        return on_pairs(-self.lam * logsigmoid(ahead(log_odds(preferred), log_odds(other))), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = log_probs(now, batch, average=True)
        return pair_metrics(self.lam * preferred, self.lam * other, now, batch)
