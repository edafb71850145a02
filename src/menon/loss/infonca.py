"""InfoNCA: the answers to one prompt are classified by their rewards (arXiv 2402.05369)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.groups import group_softmax, in_groups, on_answers, sums_of_log_ratios
from menon.loss.pairs import check_beta
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class InfoNCA:
    """l = - sum over the group of softmax(r / beta)_i log softmax(h)_i, h_i = log pi(y_i) - log ref(y_i).

    For answers that the reference wrote, the minimum over all groups is pi = ref exp(r / beta) / Z. With two
    answers, one of which has all the weight, it is DPO with a scale of 1. Equal rewards pull the log-ratios
    of a group to one value. Each answer of the group carries the group's number, on its last action token, so
    that `SequenceMean` is the mean over groups, each weighed by its size; the gradient is that of the group.
    Empty answers and those whose grader failed are in no group.
    """

    beta: float = 0.1
    """Temperature of the rewards."""
    kind: Literal["infonca"] = "infonca"
    unit: ClassVar[Unit] = "group"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp", "reward")
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return on_answers(self._of_groups(now, batch), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        wanted, log_share = self._shares(now, batch)
        gain = torch.where(wanted > 0, wanted * (wanted.log() - log_share), 0)
        excess_S = in_groups(gain, batch)
        return {"posterior/kl": mean_over(excess_S, batch.action_lengths > 0)}

    def _shares(self, now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """[S] softmax(r / beta), and [S] log softmax(h), each within its group; 0 where an answer is in
        none."""
        wanted = group_softmax(batch.outcome / self.beta, batch).exp()
        return wanted * (batch.action_lengths > 0), group_softmax(sums_of_log_ratios(now, batch, self), batch)

    def _of_groups(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """[S] the cross-entropy of each answer's group."""
        wanted, log_share = self._shares(now, batch)
        return -in_groups(torch.where(wanted > 0, wanted * log_share, 0), batch)
