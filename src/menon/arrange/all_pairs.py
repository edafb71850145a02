"""Every right answer to a prompt against every wrong one."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.arrange.groups import answers_by_group, learning_from
from menon.batch import Batch


@dataclass(frozen=True)
class AllPairs:
    """Prefers each right answer of a group (correctness 1) to each wrong one (0): of r right and w wrong
    answers r w pairs.

    A group without both is left out, and so are answers of unknown correctness. With the share `pair_mean`
    every pair weighs the same, so groups of mixed answers weigh most; its setting `each=prompt` lets every
    prompt weigh the same. The pairs of a group are learned in one update.
    """

    kind: Literal["all_pairs"] = "all_pairs"
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ("pair",)
    compares: ClassVar[bool] = True
    needs_truth: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Batch:
        pair = torch.full_like(batch.group, -1)
        kept: list[Tensor] = []
        for rows in answers_by_group(batch):
            acc_G = batch.acc[rows]
            if (acc_G == 1).any() and (acc_G == 0).any():
                known = rows[~acc_G.isnan()]
                pair[known] = len(kept)
                kept.append(known)
        return replace(learning_from(batch, kept), pair=pair)
