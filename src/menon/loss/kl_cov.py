"""KL-Cov: a penalty on the few tokens that would collapse the entropy (arXiv 2505.22617, section 4.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.covariance import Statistics, covariance, draws, logp_for
from menon.loss.ratio import LIMIT, advantage_of, check_limit, log_ratio, mean_over
from menon.types import Max, Metric, Unit
from menon.update.protocols import Current, Need


@dataclass(frozen=True)
class KLCov:
    """l_t = -A_t rho_t, plus `penalty` |log rho_t| on the k tokens of largest covariance, k = max(1,
    floor(fraction N)).

    The covariance of log-prob and advantage is over the N trained tokens of the whole update. Of tokens that
    tie at the k-th value, those with the smallest `draws` pay, whatever the order of the sequences. There is
    no clip. The log-ratio is clamped to +-`limit`. On the first
    update of a step every ratio is 1 and the penalty has no gradient, so it acts from the second update on.
    `statistics`: log-probs of the policy before this update, or before the step. cov/penalised is the share
    of penalised tokens.
    """

    fraction: float = 2e-3
    """Share of the tokens that pays the penalty."""
    penalty: float = 1.0
    """Coefficient of the absolute log-ratio of those tokens."""
    statistics: Statistics = "current"
    """Log-probs of the policy before this update, or before the step."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["kl_cov"] = "kl_cov"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")
    column: ClassVar[str] = "kl_cov"

    def __post_init__(self) -> None:
        check_limit(self.limit, self)
        if not 0 < self.fraction <= 1 or self.penalty < 0:
            raise UserError(
                f"fraction {self.fraction} of KLCov must be above 0 and at most 1, penalty {self.penalty} "
                "not negative"
            )

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        cov = covariance(logp_for(self.statistics, batch, current), batch, self)
        place = cov.isfinite().nonzero()[:, 0]
        count = min(len(place), max(1, int(self.fraction * int(batch.trained.sum()))))
        chosen = torch.zeros_like(batch.trained)
        if count:
            least = cov[place].topk(count).values[-1]
            above, tied = place[cov[place] > least], place[cov[place] == least]
            if len(tied) > (room := count - len(above)):
                tied = tied[torch.argsort(draws(batch, 0, self.column)[tied], stable=True)[:room]]
            chosen[torch.cat([above, tied])] = True
        return {self.column: chosen}

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        change = log_ratio(now, batch, self.limit)
        return -advantage_of(batch, self) * change.exp() + torch.where(
            batch.columns[self.column], self.penalty * change.abs(), 0
        )

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio = log_ratio(now, batch, self.limit).exp()
        return {
            "cov/penalised": mean_over(batch.columns[self.column], batch.trained),
            "ratio/mean": mean_over(ratio, batch.trained),
            "ratio/max": Max(torch.where(batch.trained, ratio, 0).amax() if len(ratio) else 0.0),
        }
