"""A calculator: when the model writes `16+9=`, the environment appends `25`."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

from menon.types import Prompt

LONGEST = 100
"""Most characters of an expression; this also bounds the size of every result."""
DECIMALS = 10

_EXPRESSION = re.compile(r"[0-9+\-*/(). ]*\Z")
_TOKEN = re.compile(r" *(?:([0-9]+(?:\.[0-9]+)?)|([-+*/()]))")


class Refused(Exception):
    """The text is no expression that can be calculated."""


@dataclass(frozen=True)
class Calculator:
    """Ends a turn at `=` and appends the value of the expression in front of it, or `error`.

    The expression is what stands between the last other character (a letter, a new line, another `=`) and the
    `=`: numbers, `+ - * /` and brackets. A turn without `=` is the answer, and the end. It gives no reward:
    the task's grader does.
    """

    kind: Literal["calculator"] = "calculator"
    stop: ClassVar[tuple[str, ...]] = ("=",)

    def reset(self, prompt: Prompt, seed: int) -> str:
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        if "=" not in text:
            return "", 0.0, True
        if not text.endswith(
            "="
        ):  # the model's token continues after the sign: it has written the result itself
            return "", 0.0, False
        found = _EXPRESSION.search(text[:-1])
        try:
            return spelt(evaluate(found.group() if found else "")), 0.0, False
        except Refused:
            return "error", 0.0, False


def evaluate(expression: str) -> Fraction:
    """The exact value; `Refused` for whatever is malformed, longer than `LONGEST`, or divides by zero.

    >>> evaluate("2*(3+4)/-7")
    Fraction(-2, 1)
    """
    if len(expression) > LONGEST:
        raise Refused
    tokens: list[str] = []
    place, expression = 0, expression.rstrip(" ")
    while place < len(expression):
        found = _TOKEN.match(expression, place)
        if found is None:
            raise Refused
        tokens.append(found.group(1) or found.group(2))
        place = found.end()
    tokens.reverse()
    value = total(tokens)
    if tokens:
        raise Refused
    return value


def total(tokens: list[str]) -> Fraction:
    """Takes a sum off the end of the reversed tokens."""
    value = product(tokens)
    while tokens and tokens[-1] in "+-":
        sign = tokens.pop()
        other = product(tokens)
        value = value + other if sign == "+" else value - other
    return value


def product(tokens: list[str]) -> Fraction:
    value = factor(tokens)
    while tokens and tokens[-1] in "*/":
        sign = tokens.pop()
        other = factor(tokens)
        if sign == "/" and not other:
            raise Refused
        value = value * other if sign == "*" else value / other
    return value


def factor(tokens: list[str]) -> Fraction:
    if not tokens:
        raise Refused
    token = tokens.pop()
    if token in "+-":
        return factor(tokens) if token == "+" else -factor(tokens)
    if token == "(":
        value = total(tokens)
        if not tokens or tokens.pop() != ")":
            raise Refused
        return value
    if token in "*/)":
        raise Refused
    return Fraction(token)


def spelt(value: Fraction) -> str:
    """Whole numbers as they are, others rounded to `DECIMALS`.

    >>> spelt(Fraction(20)), spelt(Fraction(-2, 3)), spelt(Fraction(1, 8))
    ('20', '-0.6666666667', '0.125')
    """
    scaled = round(abs(value) * 10**DECIMALS)
    whole, rest = divmod(scaled, 10**DECIMALS)
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{whole}" + (f".{rest:0{DECIMALS}}".rstrip("0") if rest else "")
