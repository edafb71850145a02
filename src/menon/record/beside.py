"""The numbers of two evaluations beside each other, in words: for a terminal, a page and a text."""

from collections.abc import Mapping, Sequence
from typing import Any

ROWS = (
    ("accuracy", "accuracy at temperature 1", ".3f"),
    ("best_accuracy", "accuracy at its best temperature", ".3f"),
    ("maj_at_8", "accuracy by a vote of eight", ".3f"),
    ("reward", "reward at temperature 1", ".3f"),
    ("best_reward", "reward at its best temperature", ".3f"),
    ("nll", "loss on held-out rows, nats a token", ".3f"),
    ("distill/divergence", "divergence on held-out rows", ".3f"),
    ("distill/features", "distance of held-out states", ".3f"),
    ("distill/attention", "divergence of held-out attention", ".3f"),
    ("pairs/accuracy", "held-out pairs put right", ".3f"),
    ("pairs/margin", "margin of a held-out pair", ".3f"),
    ("learned/pairs/accuracy", "pairs it learned from put right", ".3f"),
    ("kto/accuracy", "held-out answers put right", ".3f"),
    ("learned/kto/accuracy", "answers it learned from put right", ".3f"),
    ("mean_length", "length, tokens", ".1f"),
    ("entropy", "entropy, nats", ".3f"),
    ("working_share", "shows working", ".3f"),
    ("reflection_share", "reflects", ".3f"),
)
"""Key in an evaluation, label, format."""


def shown(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The rows that both evaluations have. The best reward stands in for the best accuracy where that is not
    known."""
    both = [row for row in ROWS if before.get(row[0]) is not None and after.get(row[0]) is not None]
    known = any(key == "accuracy" for key, _, _ in both)
    return [row for row in both if not (known and row[0] == "best_reward")]


def with_interval(numbers: Mapping[str, Any], key: str, form: str = ".3f") -> str:
    """A number with its 95 % interval if the evaluation has one.

    >>> with_interval({"accuracy": 0.23, "accuracy_low": 0.17, "accuracy_high": 0.29}, "accuracy")
    '0.230 (0.17 to 0.29)'
    """
    ends = interval_of(numbers, key)
    return f"{numbers[key]:{form}}" + (f" ({ends[0]} to {ends[1]})" if ends else "")


def interval_of(numbers: Mapping[str, Any], key: str) -> Sequence[str]:
    """The ends of a number's interval, to two digits; () if the evaluation has none."""
    low, high = numbers.get(f"{key}_low"), numbers.get(f"{key}_high")
    return () if low is None or high is None else (f"{low:.2f}", f"{high:.2f}")
