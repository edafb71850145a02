"""The protocol between a training step and what it learns from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from menon.batch import Batch
from menon.truth import settled
from menon.types import Graded, Metric, StepReport


@dataclass(frozen=True)
class Gathered:
    """What one step learns from."""

    batch: Batch
    graded: tuple[Graded, ...] = ()
    """The graded answers of the batch, in its order; empty for given rows."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Metrics that only the source knows; groups that it dropped, for example, are in no batch."""
    oldest_version: int = 0
    """The oldest version of the weights that wrote a token of the batch."""
    waited: float = 0.0
    """Seconds for which the run stood still until a step that is written ahead was there."""
    wrote: Mapping[str, Any] = field(default_factory=dict)
    """What an asynchronous source wrote for this step, for the record (`record.events.KINDS`, `wrote`)."""

    def settled(self, known: bool) -> "Gathered":
        """The same with guessed correctness taken for what it is (`menon.truth.settled`)."""
        if not any(g.verdict.guessed for g in self.graded):
            return self
        graded = tuple(settled(self.graded, known))
        acc = torch.tensor([g.verdict.acc for g in graded], dtype=torch.float32)
        metrics = dict(self.metrics)
        if acc.isnan().all():
            metrics.pop("acc/mean", None)
        return replace(self, graded=graded, batch=replace(self.batch, acc=acc), metrics=metrics)


class Source(Protocol):
    """An endless supply of steps. Calls come in this order: `next`, `learned`, `published`, `state`; then
    again."""

    def next(self) -> Gathered: ...

    def learned(self, report: StepReport) -> None:
        """The step's updates are done. When it returns, nothing is being written, so the weights may be
        replaced; answers may be written in part."""
        ...

    def published(self, version: int) -> None:
        """The sampler has new weights: requests that waited for them may start."""
        ...

    def state(self) -> dict[str, Any]:
        """The state of the source, in types that `state_codec` can write; later calls do not change the
        returned object."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Continues from a state. UserError if the state is that of a different source."""
        ...

    def close(self) -> None: ...
