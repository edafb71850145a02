"""Kahneman-Tversky optimisation: single answers that are good or bad, without pairs (arXiv 2402.01306,
section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.loss.mismatched import mismatched
from menon.loss.pairs import check_beta
from menon.loss.ratio import mean_over
from menon.types import Mean, Metric, Unit
from menon.update.protocols import Current, Need


@dataclass(frozen=True)
class KTO:
    """l = w_D (1 - sigmoid(beta (q - z))) for a desirable answer (acc 1), w_U (1 - sigmoid(beta (z - q))) for
    an undesirable one (acc 0); q = log pi - log ref, summed over the answer's tokens.

    z = max(0, mean of q over the update's answers, each after the prompt of another group), without gradient:
    an estimate of the KL to the reference, from two more scoring passes. One number per answer, on its last
    action token; aggregation `SequenceMean`. An update may hold one class only. The metrics pairs/* have
    no margin; kto/kl is z, kto/desirable the share of desirable answers. UserError for a label other than 0
    or 1, and for an update with a single prompt.
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
        if min(self.desirable_weight, self.undesirable_weight) < 0:
            raise UserError(
                f"desirable_weight {self.desirable_weight} and undesirable_weight {self.undesirable_weight} "
                "of KTO must be 0 or more"
            )

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        check_labels(batch)
        other = mismatched(batch)
        policy, reference = (current("logp", role=role, on=other)["logp"] for role in ("", "reference"))
        gain_S = ragged.sequence_sum(ragged.difference(policy, reference, other.trained), other.offset)
        kl = gain_S.mean() if len(gain_S) else gain_S.sum()
        kl = kl.to(batch.reward).clamp(0, torch.finfo(batch.reward.dtype).max)
        return {self.column: kl.repeat(batch.num_tokens)}

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        gain_S, place_S = self._gains(now, batch)
        ahead_S = self.beta * (gain_S - batch.columns[self.column][place_S])
        good_S = self.desirable_weight * torch.sigmoid(-ahead_S)
        bad_S = self.undesirable_weight * torch.sigmoid(ahead_S)
        present = batch.action_lengths > 0
        loss_S = torch.where(batch.acc == 1, good_S, bad_S)[present]
        return loss_S.new_zeros(batch.num_tokens).index_add(0, place_S[present], loss_S)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        gain_S, place_S = self._gains(now, batch)
        present, good = batch.action_lengths > 0, batch.acc == 1
        return {
            "pairs/chosen_reward": mean_over(self.beta * gain_S, present & good),
            "pairs/rejected_reward": mean_over(self.beta * gain_S, present & ~good),
            "kto/kl": mean_over(batch.columns[self.column][place_S], present),
            "kto/desirable": Mean((present & good).sum(), present.sum()),
        }

    def _gains(self, now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """[S] q, and [S] indices of the last action tokens (of any token where there is none)."""
        gain = ragged.difference(now["logp"], batch.need("ref_logp", self), batch.trained)
        return ragged.sequence_sum(gain, batch.offset), ragged.last(batch.trained, batch.offset)


def check_labels(batch: Batch) -> None:
    """UserError unless every answer that trains is labelled."""
    wrong = (batch.action_lengths > 0) & (batch.acc != 0) & (batch.acc != 1)
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise UserError(
            f"KTO needs acc 1 for a desirable answer and 0 for an undesirable one; answer {row} of the "
            f"update has {float(batch.acc[row]):g}"
        )
