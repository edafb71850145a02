"""Overlong filtering (DAPO, arXiv 2503.14476, section 3.4)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.types import FINISHES


@dataclass(frozen=True)
class NotTruncated:
    """Drops every token of an answer that was cut at its length limit; its reward still counts in its group's
    statistics."""

    kind: Literal["not_truncated"] = "not_truncated"
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, batch: Batch) -> Tensor:
        return batch.trained & ragged.spread(batch.finish != FINISHES.index("length"), batch.offset)
