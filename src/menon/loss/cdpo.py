"""Conservative DPO: labels that are wrong with a known probability (E. Mitchell, "A note on DPO with noisy
preferences", 2023, equation 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.batch import Batch
from menon.loss.dpo import DPO
from menon.loss.pairs import check_beta, check_smoothing
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class CDPO:
    """l = -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h), e = `label_smoothing`: DPO with smoothed
    labels, h as there.

    Its minimum is at sigmoid(beta h) = 1 - e, so the margin of a pair does not grow without end. With e = 0
    it is DPO.
    """

    beta: float = 0.1
    """Scale of the log-ratios to the reference."""
    label_smoothing: float = 0.1
    """Probability that a preference is the wrong way round."""
    kind: Literal["cdpo"] = "cdpo"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)

    def __post_init__(self) -> None:
        check_beta(self)
        check_smoothing(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return DPO(self.beta, self.label_smoothing)(now, batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return DPO(self.beta, self.label_smoothing).metrics(now, batch)
