"""Tokens of correct answers, for the positive-example loss of VAPO (arXiv 2504.05118, section 4.3)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon import ragged
from menon.batch import Batch


@dataclass(frozen=True)
class Correct:
    """Keeps the tokens of answers whose raw correctness is 1; with the loss `nll` and the aggregation
    `selected_mean` the policy imitates them. Without a correct answer nothing is kept, and the term is 0.
    Answers of unknown correctness are left out.
    """

    kind: Literal["correct"] = "correct"
    reads: ClassVar[tuple[str, ...]] = ()
    needs_truth: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        return batch.trained & ragged.spread(batch.acc == 1, batch.offset)
