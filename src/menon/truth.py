"""Which answers are right, where a reward gives numbers only.

A reward that states `acc`, as every verifier does, is the truth. A function that returns a bare number may
pay for correctness or for anything else; its number is taken for correctness only if it is exactly 0 or 1 in
every answer that is looked at together, those of an evaluation or of a step.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from menon.errors import UserError
from menon.types import Graded, Verdict


def settled(graded: Sequence[Graded], known: bool = True) -> list[Graded]:
    """The answers with guessed accs where they are a truth, else NaN. `known`: False if the answers of the
    run's first evaluation have shown already that the numbers are none."""
    verdicts = settled_verdicts([g.verdict for g in graded], known)
    return [replace(g, verdict=verdict) for g, verdict in zip(graded, verdicts, strict=True)]


def settled_verdicts(verdicts: Sequence[Verdict], known: bool = True) -> list[Verdict]:
    """As `settled`."""
    if known and not any(is_number(verdict) for verdict in verdicts):
        return list(verdicts)
    return [replace(verdict, acc=math.nan) if verdict.guessed else verdict for verdict in verdicts]


def is_number(verdict: Verdict) -> bool:
    """Whether the verdict shows that its reward is no truth: a bare number other than 0 and 1."""
    return verdict.guessed and math.isnan(verdict.acc) and not math.isnan(verdict.score)


def check_known(graded: Sequence[Graded], part: str) -> None:
    """UserError if `part` needs to know which answers are right and no graded answer says so."""
    scored = [g.verdict for g in graded if not math.isnan(g.verdict.score)]
    if scored and all(math.isnan(verdict.acc) for verdict in scored):
        example = next((v.score for v in scored if v.score not in (0, 1)), scored[0].score)
        raise UserError(
            f"{part} needs to know which answers are right, and the reward does not say: it gave scores like "
            f"{example:g}; let it return a bool, or {{'score': ..., 'acc': 0 or 1}}, or leave {part} out"
        )
