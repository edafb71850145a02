"""Grades measured quantities: a number must be close enough to the gold one, in the unit that the question
asks for (SciBench)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from menon.reward.extract import WAYS, Way, stated
from menon.types import Verdict

_POWER = re.compile(
    r"(?P<times>\s*(?:\\times|\\cdot|[×·*])\s*)?(?<![\d.])10\s*\^\s*\{?\s*(?P<n>[-+]?\d{1,3})\s*\}?"
)
_NUMBER = re.compile(r"[-+]?(?=\.?\d)(?:\d{1,3}(?:,\d{3})+(?!\d)|\d*)(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\d))?")
_SPACE = re.compile(r"\\[,;:! ]|[~$]|\\mathrm|\\text\w*|[{}](?=\s*\d)")
LONGEST = 300
"""Characters that are searched for the number; its unit follows it."""


@dataclass(frozen=True)
class WithinTolerance:
    """1 if the first number of the stated result is within `relative` of the gold one, else 0.

    Where the row's `unit` holds a power of ten, a result that writes the power out counts as well: 3.52 and
    3.52e-19 for the gold answer 3.52 in units of 10^{-19} J. For a gold answer of 0 only 0 is right.
    """

    relative: float = 0.05
    ways: Sequence[Way] = WAYS

    def __call__(
        self, prompt: str, completion: str, answer: str, unit: str | None = None, **columns: object
    ) -> Verdict:
        said, gold = value(stated(prompt, completion, self.ways) or ""), value(answer)
        score = float(
            said is not None
            and gold is not None
            and any(self.near(g, said) for g in (gold, gold * power(unit or "")))
        )
        return Verdict(score, acc=score)

    def near(self, gold: float, said: float) -> bool:
        return abs(said - gold) <= self.relative * abs(gold)

    def alike(self, first: str, other: str) -> bool:
        """Whether two results vote for the same answer: the second is near enough to the first, or neither
        has a number."""
        one, two = value(first), value(other)
        return one == two or (one is not None and two is not None and self.near(one, two))

    def spell(self, prompt: str, answer: str) -> str:
        return f"\\boxed{{{answer}}}"


def value(text: str) -> float | None:
    r"""The first number, with its power of ten; None where there is none.

    >>> value(r"$-1{,}234.5\,\mathrm{J}$"), value(r"6.6 \times 10^{-23} kg"), value("about x")
    (-1234.5, 6.6e-23, None)
    """
    text = _SPACE.sub("", text[:LONGEST].replace("−", "-").replace("{,}", ","))
    found = _NUMBER.search(_POWER.sub(lambda power: f"{'' if power['times'] else '1'}e{power['n']}", text))
    return float(found[0].replace(",", "")) if found else None


def power(unit: str) -> float:
    """The power of ten that a unit begins with, else 1."""
    found = _POWER.search(unit)
    return float(f"1e{found['n']}") if found else 1.0
