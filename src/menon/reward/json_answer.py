"""Answers that are JSON."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from menon.reward.extract import tagged
from menon.thought import after_thinking
from menon.types import Verdict

LONGEST = 100_000
"""Most characters that are read."""
DEEPEST = 100
"""Most levels of nested brackets."""
_FENCED = re.compile(r"```(?i:json)?\s*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class JsonAnswer:
    """The answer is the same JSON as the gold answer. 1 if it is, else 0. What is read is the last
    `<answer>`, else the whole text after the thought; where that holds fenced blocks, the last of them. Order
    counts in lists, not in objects; 1 and 1.0 are the same number; a repeated key is refused.

    `partial`: if both are objects, the score is the share of their keys whose values are the same.
    """

    partial: bool = False
    """The share of the keys with the right values counts."""
    kind: Literal["json"] = "json"

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        gold, found = parse(answer), parse(written(prompt, completion))
        if gold is None or found is None:
            return Verdict(0.0, 0.0, {"unparsable": float(found is None)})
        same = gold == found
        score = share(gold[0], found[0]) if self.partial else float(same)
        return Verdict(score, float(same), {"unparsable": 0.0})

    def spell(self, prompt: str, answer: str) -> str:
        return answer


def written(prompt: str, completion: str) -> str:
    text = after_thinking(prompt, completion) or ""
    inside = tagged(text)
    text = text if inside is None else inside
    blocks = _FENCED.findall(text)
    return blocks[-1] if blocks else text


def parse(text: str) -> tuple[Any] | None:
    """The value, in a tuple because it may be None itself; None where the text is no JSON."""
    if len(text) > LONGEST or max(text.count("["), text.count("{")) > LONGEST // 10:
        return None
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_number, parse_float=_number
        )
        return (value,)
    except (ValueError, ArithmeticError, RecursionError):  # an exponent that Decimal cannot hold
        return None


def share(gold: Any, found: Any) -> float:
    if not (isinstance(gold, dict) and isinstance(found, dict)):
        return float(gold == found)
    keys = gold.keys() | found.keys()
    equal = sum(key in gold and key in found and gold[key] == found[key] for key in keys)
    return equal / len(keys) if keys else 1.0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _number(text: str) -> tuple[str, Decimal]:
    """A number in a tagged tuple, because Python would find 1 equal to true."""
    if len(text) > 400:
        raise ValueError("a very long number")
    return "number", Decimal(text)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
