"""Residual energy models by noise-contrastive estimation (arXiv 2004.11714)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from menon import ragged
from menon.batch import Batch
from menon.loss.bradley_terry import SCORE, scores_of
from menon.loss.groups import on_answers, sums_of_log_ratios
from menon.loss.labels import log_odds
from menon.loss.pairs import of_pairs, pair_metrics
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Current, Need


@dataclass(frozen=True)
class EnergyNCE:
    """l = softplus(E - log k) for an answer of the data (acc 1), softplus(log k - E) for one of the reference
    (acc 0), k = answers of the data / answers of the reference in the update.

    At the minimum -E = log(p / ref), p the distribution of the data, such as draws from the optimum; log Z
    is in it. With energy="log_ratio" E = -(log pi - log ref), so that pi becomes p; with "head" -E is the
    score of the head named reward, on the state after the answer. One number per answer, on its last action
    token; aggregation `SequenceMean`. UserError: other labels, or one kind only.
    """

    energy: Literal["log_ratio", "head"] = "log_ratio"
    """What gives the energy: the policy's log-ratio to the reference, or a head."""
    kind: Literal["energy_nce"] = "energy_nce"
    unit: ClassVar[Unit] = "sequence"
    per: ClassVar[Unit] = "sequence"
    needs_truth: ClassVar[bool] = True
    column: ClassVar[str] = "energy_odds"

    @property
    def needs(self) -> tuple[Need, ...]:
        return ("logp",) if self.energy == "log_ratio" else (SCORE,)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("ref_logp",) if self.energy == "log_ratio" else ()

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        """[N] log k of the whole update."""
        return {self.column: log_odds(batch).repeat(batch.num_tokens)}

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        logit_S = self._logits(now, batch)
        return on_answers(softplus(torch.where(batch.acc == 1, -logit_S, logit_S)), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        present, real = batch.action_lengths > 0, batch.acc == 1
        energy_S = -self._scores(now, batch)
        pairs = of_pairs(-energy_S, batch) if batch.pair is not None else None
        return {
            "energy/data": mean_over(energy_S, present & real),
            "energy/reference": mean_over(energy_S, present & ~real),
            "energy/accuracy": mean_over((self._logits(now, batch) > 0) == real, present),
            **({} if pairs is None else pair_metrics(*pairs, now, batch)),
        }

    def _logits(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """[S] log k - E: above 0 where an answer is rather one of the data."""
        place_S = ragged.last(batch.trained, batch.offset)
        return self._scores(now, batch) + batch.columns[self.column][place_S]

    def _scores(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """[S] -E."""
        if self.energy == "log_ratio":
            return sums_of_log_ratios(now, batch, self)
        return scores_of(now, batch)
