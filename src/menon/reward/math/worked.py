r"""Whether a result is worked out, or a calculation that is left to the reader: `161`, and not
`12\times 13+5`.

Equality cannot tell them apart, and a policy that learns to copy the question's calculation into the box is
right by mathematics without having worked at all.
"""

import re
from fractions import Fraction

from menon.reward.math.text import decimal, squeeze, tidy
from menon.reward.math.units import looks_like_unit

LONGEST = 200
"""Characters of a result that is looked at; a longer one is compared as a string or as a number alone."""
_NUM = r"(?:\d+\.?\d*|\.\d+)"
_FRACTION = rf"(?:\\[dtc]?frac\{{?{_NUM}\}}?\{{?{_NUM}\}}?|{_NUM}/{_NUM})"
_CURRENCY = r"(?:\\text\{[^{}]*\}|\\\$)?"
_VALUE = re.compile(rf"[-+]?{_CURRENCY}(?:{_NUM}?{_FRACTION}|{_NUM})(?P<unit>.*)", re.DOTALL)
_POWER_OF_TEN = re.compile(rf"(?:{_NUM}(?:\\cdot|\\times|\*))?10\^(?:\{{[-+]?\d+\}}|\d)")
_OPERATION = re.compile(
    r"(?<=[\w)}!%])[-+](?=[\w({\\.])"  # a sum or a difference
    r"|\\(?:cdot|times|div|sqrt|binom|log|ln|sin|cos|tan|exp|sum|prod|int|lfloor|lceil|gcd|max|min)(?![a-z])"
    r"|[*÷×!]|[-+]\(|\)\(|\d\(|\)\d|\^(?!\\?circ|\{\\circ\})"
)
_UNIT = re.compile(r"(?:\\text\{[^{}]*\}|[a-zA-Z]+)\^(?:\{-?\d\}|\d)|\\text\{[^{}]*\}")
_PARTS = re.compile(rf"\\[dtc]?frac\{{?({_NUM})\}}?\{{?({_NUM})\}}?|({_NUM})/({_NUM})")


def is_number(text: str) -> bool:
    """Whether a tidied gold answer is one number, perhaps a fraction or with a unit: its result can be worked
    out.

    >>> [is_number(text) for text in ("161", "-0.5", "\\\\frac{3}{4}", "5 cm", "3x", "2^{10}", "(1,2)")]
    [True, True, True, True, False, False, False]
    """
    plain = text.replace(" ", "")
    if decimal(plain) is not None:
        return True
    found = _VALUE.fullmatch(plain) if len(plain) <= LONGEST else None
    if found is None or _OPERATION.search(plain):
        return False
    unit = re.sub(r"\\text\{([^{}]*)\}", r"\1", found["unit"]).strip("\\ ")
    return not unit or unit == "%" or looks_like_unit(unit)


def is_worked(text: str) -> bool:
    """Whether no operation is left in a tidied result: it is a decimal, a fraction that is no whole number, a
    mixed number or a number times a power of ten, perhaps with a unit or after `x=`.

    >>> [is_worked(text) for text in ("161", "x=161", "12\\\\times 13+5", "10/2", "3/4", "2\\\\cdot 10^{3}")]
    [True, True, False, False, True, True]
    """
    plain = text.replace(" ", "").rpartition("=")[2]
    if len(plain) > LONGEST or decimal(plain) is not None:
        return True
    plain = _POWER_OF_TEN.sub("1", plain)
    if _OPERATION.search(_UNIT.sub("", plain)):
        return False
    return not any(whole(found) for found in _PARTS.finditer(plain))


def whole(found: re.Match[str]) -> bool:
    """Whether a fraction is a whole number."""
    upper, lower = (part for part in found.groups() if part is not None)
    return not Fraction(lower) or (Fraction(upper) / Fraction(lower)).denominator == 1


def repeats(result: str, prompt: str) -> bool:
    """Whether a result with an operation in it stands in the question as it is."""
    said = squeeze(tidy(result[:LONGEST]))
    return len(result) <= LONGEST and not is_worked(said) and said in squeeze(tidy(prompt[-4 * 4096 :]))
