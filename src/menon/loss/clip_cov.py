"""Clip-Cov: a few of the tokens that would collapse the entropy are left out (arXiv 2505.22617, section
4.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.covariance import Statistics, covariance, draws, logp_for
from menon.loss.ratio import (
    LIMIT,
    advantage_of,
    check_clip,
    check_limit,
    clip_metrics,
    clipped,
    log_ratio,
    mean_over,
)
from menon.types import Metric, Unit
from menon.update.protocols import Current, Need


@dataclass(frozen=True)
class ClipCov:
    """PPO's clipped loss, with loss 0 on k = max(1, floor(fraction N)) tokens drawn from the candidates.

    Candidates are those of the N trained tokens of the update that PPO does not clip and whose covariance of
    log-prob and advantage lies strictly between `low` and `high`; if there are fewer than k, all of them are
    left out, and if there are none, nothing is. The aggregation still counts the tokens left out. The
    authors' scripts set both clip ranges to 1, which hardly clips. cov/dropped is the share left out. The
    log-ratio is clamped to +-`limit`.

    The random number of a token depends only on (seed, version of the weights that wrote it, its sequence,
    its index in the sequence). So it depends neither on the order of the sequences nor on how the update is
    cut, and a resumed run draws the same.
    """

    fraction: float = 2e-4
    """Share of the tokens that is left out."""
    low: float = 1.0
    """Least covariance of a token that may be left out."""
    high: float = 5.0
    """Largest covariance of a token that may be left out."""
    clip_low: float = 1.0
    """The ratio is clipped below 1 - clip_low."""
    clip_high: float = 1.0
    """The ratio is clipped above 1 + clip_high."""
    seed: int = 0
    """Seed of the choice of tokens."""
    statistics: Statistics = "current"
    """Log-probs of the policy before this update, or before the step."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["clip_cov"] = "clip_cov"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")
    column: ClassVar[str] = "clip_cov"

    def __post_init__(self) -> None:
        check_clip(self)
        check_limit(self.limit, self)
        if not 0 < self.fraction <= 1 or not self.low < self.high:
            raise UserError(
                f"fraction {self.fraction} of ClipCov must be above 0 and at most 1, low {self.low} below "
                f"high {self.high}"
            )

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        logp = logp_for(self.statistics, batch, current)
        return {
            self.column: self.choose(
                self.candidates(logp, batch), draws(batch, self.seed, self.column), int(batch.trained.sum())
            )
        }

    def candidates(self, logp: Tensor, batch: Batch) -> Tensor:
        """[N] bool: tokens that may be left out."""
        cov, advantage = covariance(logp, batch, self), advantage_of(batch, self)
        ratio = log_ratio({"logp": logp}, batch, self.limit).exp()
        free = clipped(ratio, advantage, self) <= -advantage * ratio
        return batch.trained & free & (cov > self.low) & (cov < self.high)

    def choose(self, candidates: Tensor, draw: Tensor, count: int) -> Tensor:
        """[N] bool: the k candidates with the smallest random numbers, for `count` trained tokens."""
        place = candidates.nonzero()[:, 0]
        chosen = place[torch.argsort(draw[place], stable=True)[: max(1, int(self.fraction * count))]]
        return torch.zeros_like(candidates).index_fill(0, chosen, True)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        loss = clipped(log_ratio(now, batch, self.limit).exp(), advantage_of(batch, self), self)
        return torch.where(batch.columns[self.column], 0, loss)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio, advantage = log_ratio(now, batch, self.limit).exp(), advantage_of(batch, self)
        dropped = {"cov/dropped": mean_over(batch.columns[self.column], batch.trained)}
        return clip_metrics(ratio, advantage, self, batch.trained) | dropped
