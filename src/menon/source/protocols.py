"""The seam between a training step and what it learns from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from menon.batch import Batch
from menon.types import Graded, Metric, StepReport


@dataclass(frozen=True)
class Gathered:
    """What one step learns from."""

    batch: Batch
    graded: tuple[Graded, ...] = ()
    """The sequences of the batch, in its order, where they are answers; empty for rows that were given."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """What only the source saw: groups that were written and dropped are in no batch."""
    oldest_version: int = 0
    """Of the weights that wrote a token of the batch."""


class Source(Protocol):
    """An endless supply of steps. Calls come in this order: `next`, `learned`, `published`, `state`; then
    again."""

    def next(self) -> Gathered: ...

    def learned(self, report: StepReport) -> None:
        """The step's updates are done. When it returns, nothing is being written, so the weights may be
        replaced."""
        ...

    def published(self, version: int) -> None:
        """The sampler has new weights: what waited for them may start."""
        ...

    def state(self) -> dict[str, Any]:
        """Where it stands, as `state_codec` can write it; later calls do not change what was given."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from there. UserError if the source is another one than that the state was taken of."""
        ...

    def close(self) -> None: ...
