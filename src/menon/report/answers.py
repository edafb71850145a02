"""Answers to the same questions before and after training: which pairs a page shows, and how the verdicts
changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Marked = list[tuple[str, float]]
"""Pieces of an answer, one per token, each with a number (its KL, in nats)."""
Row = Mapping[str, Any]
"""One answer as `record.transcripts` reads it."""

BY_REWARD = "reward"
"""Stands for the verdict before where correctness is not known; the verdict after says how the reward
moved."""
KINDS = (
    *(("wrong", "right"), ("right", "wrong"), ("wrong", "wrong"), ("right", "right")),
    *((BY_REWARD, "a higher"), (BY_REWARD, "a lower"), (BY_REWARD, "the same")),
)
"""Verdicts before and after, in the order in which a page shows them."""
SHARES = dict(zip(KINDS, (4, 2, 2, 2, 4, 3, 3), strict=True))
"""Most pairs of each kind that a page shows."""


@dataclass(frozen=True)
class Pair:
    row: int
    """Index of the question in both evaluations."""
    kind: tuple[str, str]
    before: Row
    after: Row


def verdict(row: Row) -> str:
    """ "right", "wrong", or why the answer has no verdict."""
    return {1.0: "right", 0.0: "wrong"}.get(row["acc"], "unknown")


def paired(before: Sequence[Row], after: Sequence[Row]) -> list[Pair]:
    """Answers to the same question, paired by their indices; [] if the two evaluations asked different
    questions."""
    if [row["prompt"] for row in before] != [row["prompt"] for row in after]:
        return []
    both = zip(before, after, strict=True)
    return [Pair(place, kind_of(b, a), b, a) for place, (b, a) in enumerate(both)]


def kind_of(before: Row, after: Row) -> tuple[str, str]:
    """The verdicts before and after; how the reward moved where they are not known."""
    kind = verdict(before), verdict(after)
    if "unknown" not in kind:
        return kind
    old, new = (math.nan if row.get("score") is None else float(row["score"]) for row in (before, after))
    if math.isnan(old) or math.isnan(new):
        return kind
    return BY_REWARD, "a higher" if new > old else "a lower" if new < old else "the same"


def counts(pairs: Sequence[Pair]) -> dict[tuple[str, str], int]:
    """The number of pairs of each kind; only kinds that occur, those of `KINDS` first."""
    seen = [pair.kind for pair in pairs]
    kinds = [kind for kind in KINDS if kind in seen] + sorted(set(seen) - set(KINDS))
    return {kind: seen.count(kind) for kind in kinds}


def chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """The first few pairs of each kind; they are not selected by hand."""
    return [pair for kind, most in SHARES.items() for pair in [p for p in pairs if p.kind == kind][:most]]
