"""The right answers to each prompt (ReST-EM, arXiv 2312.06585; RFT, arXiv 2308.01825)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.arrange.groups import answers_by_group, learning_from
from menon.batch import Batch
from menon.errors import at_least


@dataclass(frozen=True)
class CorrectOf:
    """Learns from the right answers of each group (correctness 1), at most the first `most` of them, so that
    easy prompts do not outweigh hard ones.

    With `distinct` an answer of the same tokens as one before it is left out. A group without a right answer
    teaches nothing. ReST-EM takes at most 10 of 32 answers, RFT every distinct one; both with the loss `nll`.
    """

    most: int = 10
    """Most answers of a group that are learned from."""
    distinct: bool = False
    """Leave out answers that repeat an earlier one of their group."""
    kind: Literal["correct_of"] = "correct_of"
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ()
    needs_truth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(1, "most", self.most)

    def __call__(self, batch: Batch) -> Batch:
        repeated = repeats(batch) if self.distinct else torch.zeros_like(batch.valid)
        taken = (batch.acc == 1) & ~repeated
        return learning_from(batch, [rows[taken[rows]][: self.most] for rows in answers_by_group(batch)])


def repeats(batch: Batch) -> Tensor:
    """[S] bool: an earlier sequence of the group has the same action tokens. Where correctness depends on the
    text alone, that one is right as well."""
    written = ragged.pad(torch.where(batch.is_action, batch.token, -1), batch.offset, fill=-1)
    found = torch.zeros_like(batch.valid)
    for rows in answers_by_group(batch):
        same = (written[rows][:, None] == written[rows][None]).all(-1)
        found[rows] = same.tril(-1).any(1)
    return found
