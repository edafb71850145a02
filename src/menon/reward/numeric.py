"""A number within a tolerance."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from menon.errors import UserError
from menon.reward.extract import WAYS, stated
from menon.reward.math.text import decimal, tidy, without_currency
from menon.types import Verdict

LONGEST = 400
"""Most digits, and largest power of ten, of a number that is compared."""

_END = re.compile(r"\s*%?\.?$")
_SIGN = re.compile(r"^([-+]) +")


@dataclass(frozen=True)
class Numeric:
    r"""The number after `Answer:` or `####`, in `\boxed{}` or `<answer>`, is close to the gold one. 1 if
    |stated - gold| <= absolute + relative * |gold|, else 0. Both are decimal numbers, perhaps with an
    exponent, or a fraction `a/b`; the comparison is exact. Any other stated result is wrong, and counted as
    `unparsable`. This is for measured answers; use `math` for mathematics.

    >>> Numeric(relative=0.01)("", "\\boxed{9.95}", "10").score
    1.0
    """

    relative: float = 1e-6
    """Largest error, as a share of the gold number."""
    absolute: float = 0.0
    """Largest error, added to the relative one."""
    kind: Literal["numeric"] = "numeric"

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.absolute >= 0):
            raise UserError(
                f"the tolerances of numeric are {self.relative} and {self.absolute}; neither can be negative"
            )

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        gold, found = stated_number(answer), stated_number(stated(prompt, completion, WAYS) or "")
        near = gold is not None and found is not None and abs(found - gold) <= self.margin(gold)
        return Verdict(float(near), float(near), {"unparsable": float(found is None)})

    def margin(self, gold: Fraction) -> Fraction:
        return Fraction(self.absolute) + Fraction(self.relative) * abs(gold)


def stated_number(text: str) -> Fraction | None:
    """The value of a decimal number or of a fraction of two; thousands' commas, dollar and percent signs are
    dropped."""
    text = _END.sub("", without_currency(tidy(text)).strip())
    parts = [decimal(_SIGN.sub(r"\1", part.strip())) for part in text.split("/", 1)]
    values = [_value(part) for part in parts if part is not None]
    if len(values) != len(parts) or None in values or (len(values) == 2 and not values[1]):
        return None
    return values[0] if len(values) == 1 else values[0] / values[1]  # type: ignore[operator]


def _value(found: tuple[bool, str, int]) -> Fraction | None:
    negative, digits, power = found
    if len(digits) > LONGEST or abs(power) > LONGEST:
        return None
    value = int(digits or 0) * Fraction(10) ** power
    return -value if negative else value
