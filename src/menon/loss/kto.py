"""Kahneman-Tversky optimisation: single answers that are good or bad, without pairs (arXiv 2402.01306,
section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.loss.groups import on_answers, sums_of_log_ratios
from menon.loss.labels import check_labels, check_weights, label_metrics
from menon.loss.mismatched import distance
from menon.loss.pairs import check_beta
from menon.types import Metric, Unit
from menon.update.protocols import Current, Need


@dataclass(frozen=True)
class KTO:
    """l = w_D (1 - sigmoid(beta (q - z))) for a desirable answer (acc 1), w_U (1 - sigmoid(beta (z - q))) for
    an undesirable one (acc 0); q = log pi - log ref, summed over the answer's tokens.

    z = max(0, mean of q over the update's answers, each after the prompt of another group), without gradient:
    an estimate of the KL to the reference, from two more scoring passes. One number per answer, on its last
    action token; aggregation `SequenceMean`. An update may hold one class only. The metrics pairs/* have
    no margin; kto/kl is z, kto/desirable the share of desirable answers, kto/accuracy the share of answers
    on their side of z (half for q = z). UserError for a label other than 0 or 1, and for an update with a
    single prompt.
    """

    beta: float = 0.1
    """Scale of the log-ratios to the reference."""
    desirable_weight: float = 1.0
    """w_D; the paper asks that w_D times the number of desirable answers be 1 to 4/3 of the same product for
    the others."""
    undesirable_weight: float = 1.0
    """w_U."""
    kind: Literal["kto"] = "kto"
    unit: ClassVar[Unit] = "sequence"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)
    needs_truth: ClassVar[bool] = True
    column: ClassVar[str] = "kto_kl"

    def __post_init__(self) -> None:
        check_beta(self)
        check_weights(self.desirable_weight, self.undesirable_weight)

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        check_labels(batch)
        return {self.column: distance(batch, current).repeat(batch.num_tokens)}

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        gain_S, z_S = self._gains(now, batch)
        ahead_S = self.beta * (gain_S - z_S)
        good_S = self.desirable_weight * torch.sigmoid(-ahead_S)
        bad_S = self.undesirable_weight * torch.sigmoid(ahead_S)
        return on_answers(torch.where(batch.acc == 1, good_S, bad_S), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return label_metrics(*self._gains(now, batch), self.beta, batch)

    def _gains(self, now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """[S] q, and [S] z."""
        place_S = ragged.last(batch.trained, batch.offset)
        return sums_of_log_ratios(now, batch, self), batch.columns[self.column][place_S]
