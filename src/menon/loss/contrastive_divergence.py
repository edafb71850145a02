"""Contrastive divergence: maximum likelihood of an energy model by Markov chains (Hinton 2002,
doi 10.1162/089976602760128018; persistent chains: Tieleman 2008, doi 10.1145/1390156.1390290)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.bradley_terry import SCORE, scores_of
from menon.loss.groups import on_answers
from menon.loss.pairs import of_pairs, pair_metrics
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class ContrastiveDivergence:
    """l = E for a given answer (acc 1), -E for the state of a chain (acc 0), where -E is the score of the
    head named reward. Pairs have one of each, so the mean is half the difference of the two mean energies.

    The chains draw from the model p = ref exp(-E) / Z, whose log-likelihood of the data then has this
    gradient. At the minimum p is the distribution of the data, and for draws from an optimum -E = r / beta up
    to a constant. The loss itself says nothing: it is near 0 wherever the chains are right. One number per
    answer, on its last action token; aggregation `SequenceMean`.
    """

    kind: Literal["contrastive_divergence"] = "contrastive_divergence"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = (SCORE,)
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        score_S = scores_of(now, batch)
        return on_answers(torch.where(batch.acc == 1, -score_S, score_S), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        energy_S, data = -scores_of(now, batch), batch.acc == 1
        return {
            "energy/data": mean_over(energy_S, data),
            "energy/model": mean_over(energy_S, ~data),
            **pair_metrics(*of_pairs(-energy_S, batch), now, batch),
        }
