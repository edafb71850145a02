"""Grades measured quantities: a number must be close enough to the gold one, in the unit that the question
asks for (SciBench)."""

from collections.abc import Sequence
from dataclasses import dataclass

from menon.eval.quantity import power, value
from menon.reward.extract import WAYS, Way, stated
from menon.types import Verdict


@dataclass(frozen=True)
class WithinTolerance:
    """1 if the stated number is within `relative` of the gold one, else 0. The number is the side after the
    last `=` of the stated result, read as mathematics (`quantity.value`); its unit is left out.

    Where the row's `unit` holds a power of ten, a result that writes the power out counts as well: 3.52 and
    3.52e-19 for the gold answer 3.52 in units of 10^{-19} J; 2.3 and 2.3 % where the unit is %. For a gold
    answer of 0 only 0 is right.
    """

    relative: float = 0.05
    ways: Sequence[Way] = WAYS

    def __call__(
        self, prompt: str, completion: str, answer: str, unit: str | None = None, **columns: object
    ) -> Verdict:
        said, gold = value(stated(prompt, completion, self.ways) or ""), value(answer)
        factors = {1.0, power(unit or ""), power(unit or "") * (0.01 if "%" in (unit or "") else 1)}
        score = float(
            said is not None
            and gold is not None
            and any(self.near(gold * factor, said) for factor in factors)
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
