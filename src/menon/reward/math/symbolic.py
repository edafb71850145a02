r"""Compares by Math-Verify what the rules of `compare` cannot decide: sums, integrals, limits, products of
matrices, differences of sets.

Its LaTeX parser builds sympy objects from a grammar and never runs text; its reader for plain expressions
(sympy's `parse_expr`, which does) is not used. Parser and comparison are slow and may hang, so they run in a
worker process under a limit on its CPU time, after the checks below.
"""

import logging
import re
from functools import cache
from importlib import import_module
from typing import Any, Literal

LONGEST = 300
"""Most characters of a text that is parsed."""
DEEPEST = 12
"""Most levels of nested braces."""

_NEEDED = re.compile(
    r"\\(?:sum|prod|int|lim|det|cup|cap|setminus|bmod|pmod|endmatrix|end|inf|sup|oint|iint|operatorname)(?![a-zA-Z])"
)
_KNOWN = re.compile(r"(?:\\[a-zA-Z]+|\\[{}\\ ]|[A-Za-z0-9\s+\-*/^_=<>()\[\]{}|,;.!&:°'%])*")
_LARGE = re.compile(
    r"\d{7,}"  # a long number
    r"|\^ *\{?[^{}^]*\^ *\{?[^{}^]*\^"  # a tower of powers
    r"|\\(?:sum|prod) *_ *\{[^{}]*\} *\^ *\{[^{}]*\^"  # a bound that is a power
    r"|(?:\\(?:int|sum|prod|lim)(?![a-zA-Z]).{0,100}){3}"  # three inside one another
)
_LONG_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{5,}")


def compare_symbolically(
    gold: str, stated: str, readable: bool
) -> Literal["right", "wrong", "unparsable", "too costly"]:
    """`readable`: `tree.read` could read the stated answer."""
    no: Literal["wrong", "unparsable"] = "wrong" if readable else "unparsable"
    if not (_NEEDED.search(gold) or _NEEDED.search(stated)) or "\\text" in gold + stated:
        return no  # the parser would drop words
    if too_large(gold) or too_large(stated):
        return "too costly"
    if not all(_KNOWN.fullmatch(text) and not _LONG_WORD.search(text) for text in (gold, stated)):
        return no
    one, other = parse(gold), parse(stated)
    if one is None or other is None:
        return no if other is None else "wrong"
    if is_claim(one) and is_claim(other):  # both may be true without being the same answer
        return "right" if one == other else "wrong"
    return "right" if verify()(one, other) or verify()(worked_out(one), worked_out(other)) else "wrong"


def too_large(text: str) -> bool:
    depth = deepest = 0
    for letter in text:
        depth += (letter in "{(") - (letter in "})")
        deepest = max(depth, deepest)
    return len(text) > LONGEST or deepest > DEEPEST or _LARGE.search(text) is not None


def parse(text: str) -> Any:
    """A sympy object, or None. An integral without bounds stands for many functions and is None; limits are
    of both sides, where the parser means the right one."""
    try:
        value = reader()(braced(text.replace("°", "^{\\circ}").replace("%", "\\%")))
        if any(len(bounds) < 3 for integral in value.atoms(sympy().Integral) for bounds in integral.limits):
            return None
        return value.replace(
            lambda part: isinstance(part, sympy().Limit) and part.args[2].is_finite, both_sides
        )
    except Exception:  # the parser raises whatever its grammar meets: any fault of the text is "not readable"
        return None


def both_sides(limit: Any) -> Any:
    return sympy().Limit(*limit.args[:3], "+-")


def is_claim(value: Any) -> bool:
    """A relation of constants: true or false by itself."""
    return isinstance(value, sympy().core.relational.Relational) and not value.free_symbols


def worked_out(value: Any) -> Any:
    """The value of sums, limits and integrals."""
    try:
        return value.doit()
    except Exception:  # sympy raises anything where it cannot
        return value


def braced(text: str) -> str:
    """\\frac12 and \\sqrt2 with the braces that the parser asks for."""
    text = re.sub(r"\\(frac|binom|sqrt) *([0-9A-Za-z])", r"\\\1{\2}", text)
    return re.sub(r"(\\(?:frac|binom) *\{[^{}]*\}) *([0-9A-Za-z])", r"\1{\2}", text)


@cache
def sympy() -> Any:
    return import_module("sympy")


@cache
def reader() -> Any:
    from latex2sympy2_extended import latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig

    return lambda text: latex2sympy(
        text, is_real=False, conversion_config=ConversionConfig(lowercase_symbols=False)
    )


@cache
def verify() -> Any:
    import math_verify

    logging.getLogger("math_verify").setLevel(
        logging.ERROR
    )  # it warns that its own time limit is off; the worker has one
    return lambda gold, stated: math_verify.verify(gold, stated, timeout_seconds=None)
