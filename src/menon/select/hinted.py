"""Tokens of answers whose teacher reads a hint of the step (SDPO, arXiv 2601.20802)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon import ragged
from menon.batch import Batch


@dataclass(frozen=True)
class Hinted:
    """Keeps the tokens of answers for which `teacher_question` had a text: another right answer to the
    question, or feedback on this one. The teacher reads the question alone for the others, and a term with
    this selection leaves them out. Without a hint in the whole update the term is 0.
    """

    kind: Literal["hinted"] = "hinted"
    reads: ClassVar[tuple[str, ...]] = ("hinted",)

    def __call__(self, batch: Batch) -> Tensor:
        return batch.trained & ragged.spread(batch.need("hinted", self), batch.offset)
