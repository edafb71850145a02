"""Advantages of mean 0 and variance 1 over all trained tokens of a step."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from menon import ragged
from menon.batch import Batch


@dataclass(frozen=True)
class Whiten:
    """A <- (A - mean) / sqrt(var + 1e-8), the sample variance; with fewer than two tokens only the mean goes.

    Long answers weigh more, and a group without signal can get an advantage that is not 0. Comes after the estimator; value
    targets stay as they are.
    """

    kind: Literal["whiten"] = "whiten"
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, batch: Batch) -> Batch:
        return replace(batch, advantage=ragged.whiten(batch.need("advantage", self), batch.trained))
