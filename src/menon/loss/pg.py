"""The plain policy gradient (Williams 1992)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import advantage_of, times_logp
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class PolicyGradient:
    """l_t = -A_t log pi_t. On-policy only: it does not correct for the policy that wrote the text."""

    kind: Literal["pg"] = "pg"
    unit: ClassVar[Unit] = "token"
    on_policy: ClassVar[bool] = True
    """It assumes that the current policy wrote the text."""
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage",)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return times_logp(-advantage_of(batch, self), now, batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {}
