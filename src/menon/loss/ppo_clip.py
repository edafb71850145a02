"""PPO's clipped surrogate (Schulman et al., arXiv 1707.06347, equation 7) and clip-higher (DAPO, arXiv
2503.14476)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import LIMIT, advantage_of, check_clip, check_limit, clip_metrics, clipped, log_ratio
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class PPOClip:
    """l_t = max(-A_t rho_t, -A_t clip(rho_t, 1 - clip_low, 1 + clip_high)), rho = pi / pi_old.

    clip_high above clip_low is clip-higher. The log-ratio is clamped to +-`limit`. clip/low counts tokens
    that are clipped at the lower bound (A < 0), clip/high those at the upper one (A > 0); clipped tokens have
    no gradient.
    """

    clip_low: float = 0.2
    """The ratio is clipped below 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio is clipped above 1 + clip_high; above clip_low it is clip-higher."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["ppo_clip"] = "ppo_clip"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_clip(self)
        check_limit(self.limit, self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return clipped(log_ratio(now, batch, self.limit).exp(), advantage_of(batch, self), self)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return clip_metrics(
            log_ratio(now, batch, self.limit).exp(), advantage_of(batch, self), self, batch.trained
        )
