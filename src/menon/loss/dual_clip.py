"""PPO's clip with a bound on the loss of a token with a negative advantage (Ye et al., arXiv 1912.09729,
equation 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import (
    LIMIT,
    advantage_of,
    check_bound,
    check_clip,
    check_limit,
    clip_metrics,
    clipped,
    log_ratio,
    mean_over,
)
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class DualClip:
    """PPO's clipped loss, and where A_t < 0 at most -A_t `bound`.

    PPO does not bound the ratio from above where A < 0, so a bad token that has become 100 times likelier has
    a gradient 100 times as large. With a ratio above `bound` a token has no gradient (clip/dual counts
    those). A bound on the ratio in the unclipped branch, for both signs (INTELLECT-2), is the same: for A > 0
    the upper clip acts first. The log-ratio is clamped to +-`limit`.
    """

    clip_low: float = 0.2
    """The ratio is clipped below 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio is clipped above 1 + clip_high; above clip_low it is clip-higher."""
    bound: float = 3.0
    """Largest ratio with a gradient where the advantage is negative."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["dual_clip"] = "dual_clip"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_clip(self)
        check_limit(self.limit, self)
        check_bound(self.bound, self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        ratio, advantage = log_ratio(now, batch, self.limit).exp(), advantage_of(batch, self)
        return clipped(ratio, advantage, self, self.bound)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio, advantage = log_ratio(now, batch, self.limit).exp(), advantage_of(batch, self)
        held = {"clip/dual": mean_over((ratio > self.bound) & (advantage < 0), batch.trained)}
        return clip_metrics(ratio, advantage, self, batch.trained) | held
