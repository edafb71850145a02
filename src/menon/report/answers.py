"""The same questions before and after: which pairs of answers a page shows, and what became of all of
them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Marked = list[tuple[str, float]]
"""Pieces of an answer, one per token, each with a number (its KL, in nats)."""
Row = Mapping[str, Any]
"""One answer as `record.transcripts` reads it."""

KINDS = (("wrong", "right"), ("right", "wrong"), ("wrong", "wrong"), ("right", "right"))
"""What an answer was and became, in the order in which a page shows them."""
SHARES = {KINDS[0]: 4, KINDS[1]: 2, KINDS[2]: 2, KINDS[3]: 2}
"""Pairs of each kind that a page shows at most."""


@dataclass(frozen=True)
class Pair:
    row: int
    """Place in both evaluations."""
    kind: tuple[str, str]
    before: Row
    after: Row


def verdict(row: Row) -> str:
    """right, wrong, or what else there is to say of an answer."""
    return {1.0: "right", 0.0: "wrong"}.get(row["acc"], "unknown")


def paired(before: Sequence[Row], after: Sequence[Row]) -> list[Pair]:
    """Answers to the same question, by their places; [] where the two were not asked the same."""
    if [row["prompt"] for row in before] != [row["prompt"] for row in after]:
        return []
    both = zip(before, after, strict=True)
    return [Pair(place, (verdict(b), verdict(a)), b, a) for place, (b, a) in enumerate(both)]


def counts(pairs: Sequence[Pair]) -> dict[tuple[str, str], int]:
    """How many questions went which way; only kinds that occur, the known ones first."""
    seen = [pair.kind for pair in pairs]
    kinds = [kind for kind in KINDS if kind in seen] + sorted(set(seen) - set(KINDS))
    return {kind: seen.count(kind) for kind in kinds}


def chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """The first pairs of each kind, nobody's picks."""
    return [pair for kind, most in SHARES.items() for pair in [p for p in pairs if p.kind == kind][:most]]
