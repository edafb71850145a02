"""Groups whose rewards differ (the zero-variance filter of ScaleRL, arXiv 2510.13786)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.arrange.groups import answers_by_group, learning_from
from menon.batch import Batch


@dataclass(frozen=True)
class Varied:
    """Learns from the groups whose rewards are not all equal. The others count in no loss aggregation and in
    no statistic over the step, and no other prompt takes their place, unlike with `dynamic_sampling`."""

    kind: Literal["varied"] = "varied"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ()
    compares: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Batch:
        outcome = batch.outcome
        groups = answers_by_group(batch)
        return learning_from(batch, [rows for rows in groups if outcome[rows].max() > outcome[rows].min()])
