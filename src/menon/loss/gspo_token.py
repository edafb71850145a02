"""GSPO-token: a whole sequence's ratio with a loss on every token (arXiv 2507.18071, section 4.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.loss.gspo import LIMIT
from menon.loss.ratio import (
    advantage_of,
    check_bound,
    check_clip,
    check_limit,
    clip_metrics,
    clipped,
    since_old,
)
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class GSPOToken:
    """l_t = max(-A_t s_t, -A_t clip(s_t, 1 - clip_low, 1 + clip_high)), s_t = sg(s_i) pi_t / sg(pi_t), sg =
    no gradient.

    s_i = exp(mean over the tokens of log pi - log pi_old), its log clamped to at most `limit`. This form is
    for advantages that vary within an answer. Where they do not, value and gradient are those of `GSPO`, with
    the aggregation `SequenceMeanTokenMean` here and `SequenceMean` there. Aggregations that weigh long
    answers more (`SequenceMean`, `TokenMean`) are possible only in this form. With `bound`, a token with A <
    0 has at most the loss -A bound, as in `DualClip`.
    """

    clip_low: float = 3e-4
    """The answer's ratio is clipped below 1 - clip_low; far smaller than PPO's."""
    clip_high: float = 4e-4
    """The answer's ratio is clipped above 1 + clip_high; far smaller than PPO's."""
    limit: float = LIMIT
    """Upper bound on the log of an answer's ratio."""
    bound: float | None = None
    """Largest ratio with a gradient where the advantage is negative; null: none."""
    kind: Literal["gspo_token"] = "gspo_token"
    unit: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_clip(self)
        check_limit(self.limit, self)
        check_bound(self.bound, self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return clipped(self._ratio(now, batch), advantage_of(batch, self), self, self.bound)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return clip_metrics(self._ratio(now, batch), advantage_of(batch, self), self, batch.trained)

    def _ratio(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        logp, size_S = now["logp"], batch.action_lengths.clamp(min=1)
        mean_S = ragged.sequence_sum(since_old(now, batch).detach(), batch.offset) / size_S
        # Its value is 0 and its gradient that of log pi; without `isfinite` a token of probability 0 would
        # make it NaN.
        through = torch.where(batch.trained & logp.isfinite(), logp - logp.detach(), 0)
        return (ragged.spread(mean_S, batch.offset, batch.num_tokens) + through).clamp(max=self.limit).exp()
