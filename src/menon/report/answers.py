"""Answers to the same questions before and after training: which pairs a page shows, and how the verdicts
changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Marked = list[tuple[str, float]]
"""Pieces of an answer, one per token, each with a number (its KL, in nats)."""
Row = Mapping[str, Any]
"""One answer as `record.transcripts` reads it."""

KINDS = (("wrong", "right"), ("right", "wrong"), ("wrong", "wrong"), ("right", "right"))
"""Verdicts before and after, in the order in which a page shows them."""
SHARES = {KINDS[0]: 4, KINDS[1]: 2, KINDS[2]: 2, KINDS[3]: 2}
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
    return [Pair(place, (verdict(b), verdict(a)), b, a) for place, (b, a) in enumerate(both)]


def counts(pairs: Sequence[Pair]) -> dict[tuple[str, str], int]:
    """The number of pairs of each kind; only kinds that occur, those of `KINDS` first."""
    seen = [pair.kind for pair in pairs]
    kinds = [kind for kind in KINDS if kind in seen] + sorted(set(seen) - set(KINDS))
    return {kind: seen.count(kind) for kind in kinds}


def chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """The first few pairs of each kind; they are not selected by hand."""
    return [pair for kind, most in SHARES.items() for pair in [p for p in pairs if p.kind == kind][:most]]
