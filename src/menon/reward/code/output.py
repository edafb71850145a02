"""Compares what a program printed with what it should print."""

import math
from typing import Literal

Compare = Literal["tokens", "lines"]


def same_output(printed: bytes, expected: str, compare: Compare = "tokens", tolerance: float = 1e-6) -> bool:
    """`tokens`: the words between white space agree, one by one; where the expected word is written as a
    fraction (3.5, 1e-3) a number within `tolerance`, relative or absolute, is accepted; whole numbers must
    agree exactly, and so must what is no finite number (inf, 1e999). `lines`: the text agrees except for
    white space at the ends of lines and of the text.
    """
    text = printed.decode("utf-8", errors="replace")
    if compare == "lines":
        return lines(text) == lines(expected)
    words, wanted = text.split(), expected.split()
    return len(words) == len(wanted) and all(
        map(lambda w, e: w == e or nearly_equal(w, e, tolerance), words, wanted)
    )


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def nearly_equal(word: str, expected: str, tolerance: float) -> bool:
    if not any(mark in expected for mark in ".eE") or len(word) > 400 or len(expected) > 400 or "_" in word:
        return False
    try:
        value, wanted = float(word), float(expected)
    except ValueError:
        return False
    if not math.isfinite(value) or not math.isfinite(wanted):
        return False
    return math.isclose(value, wanted, rel_tol=tolerance, abs_tol=tolerance)
