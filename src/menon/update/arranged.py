"""What a step learns from, before its batch is split into updates."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from menon.batch import Batch
from menon.source.protocols import Gathered
from menon.types import Metric, Sum


class Arrange(Protocol):
    """Says which sequences belong together before a batch is split into updates: pairs, the best of n. It
    sets `pair` and `learn`, and moves no sequence, because the record is written in their order.
    """

    def __call__(self, batch: Batch) -> Batch: ...


def arrange(gathered: Gathered, parts: Sequence[Arrange]) -> tuple[Batch, Gathered, dict[str, Metric]]:
    """The batch as it is learned from; what was gathered, whose answers now say which those are; and counts
    of the answers learned from and of the groups left out."""
    if not parts:
        return gathered.batch, gathered, {}
    batch = gathered.batch
    for part in parts:
        batch = part(batch)
    learned, before = batch.action_lengths > 0, gathered.batch.action_lengths > 0
    groups, kept = (len(batch.group[rows].unique()) for rows in (before, learned))
    graded = zip(gathered.graded, learned.tolist(), strict=False)  # rows of a file have no answers
    gathered = replace(gathered, graded=tuple(replace(g, learn=chosen) for g, chosen in graded))
    counts: dict[str, Metric] = {
        "arrange/learned": Sum(int(learned.sum())),
        "arrange/left_out": Sum(groups - kept),
    }
    return batch, gathered, counts
