"""The criteria of a rubric: how they are read, and how a judge's reply about all of them is."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.reward.batched import NoReply
from menon.reward.judge_text import decision_of

_LINE = re.compile(r"(?i)^[\s*#(-]*(?:criterion\s+)?(\d+)\s*[):.\]*-]+\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Criterion:
    text: str
    weight: float = 1.0
    """What it adds where it is met; negative for a fault."""
    name: str = ""
    """The name of its part of the verdict; "": its number."""


def read_criteria(path: str) -> tuple[Criterion, ...]:
    """The criteria of a file of JSON lines, or one JSON list. UserError if it cannot be read or is no
    rubric."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        whole = text.lstrip().startswith("[")
        lines = [] if whole else [line for line in text.split("\n") if line.strip()]
        entries = json.loads(text) if whole else [json.loads(line) for line in lines]
    except OSError as error:
        raise UserError(f"the rubric {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"the rubric {path} is not JSON lines or a JSON list ({error})") from None
    try:
        return criteria_of(entries)
    except ValueError as error:
        raise UserError(f"the rubric {path} {error}") from None


def criteria_of(rubric: Any) -> tuple[Criterion, ...]:
    """The criteria of a list of {criterion, weight, name}, or of its JSON text. HealthBench's `points` are
    weights too. ValueError says what is wrong, as the rest of a sentence."""
    if isinstance(rubric, str):
        try:
            rubric = json.loads(rubric)
        except ValueError:
            raise ValueError("is text that is no JSON; it is a list of {criterion, weight}") from None
    if not isinstance(rubric, Sequence) or not rubric:
        raise ValueError("has no criteria; it is a list of {criterion, weight}")
    found = tuple(criterion_of(number, entry) for number, entry in enumerate(rubric, start=1))
    if not any(criterion.weight > 0 for criterion in found):
        raise ValueError("has no criterion of a positive weight, so no answer could earn anything; add one")
    names = [name_of(number, criterion) for number, criterion in enumerate(found, start=1)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names two criteria '{twice[0]}'; give each a name of its own")
    return found


def criterion_of(number: int, entry: Any) -> Criterion:
    if not isinstance(entry, Mapping):
        raise ValueError(f"has a criterion {number} that is no object; write {{criterion: ..., weight: ...}}")
    text, weight = entry.get("criterion"), entry.get("weight", entry.get("points", 1))
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"has a criterion {number} without text; write it as 'criterion'")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise ValueError(f"has a criterion {number} with the weight {weight!r}; a weight is a number")
    return Criterion(text.strip(), float(weight), str(entry.get("name") or ""))


def name_of(number: int, criterion: Criterion) -> str:
    """The name of the criterion's part of a verdict."""
    return criterion.name or f"criterion_{number}"


def score_of(criteria: Sequence[Criterion], met: Sequence[bool]) -> float:
    """Sum of the weights of the criteria that are met, over the sum of the positive weights, in [0, 1].

    >>> score_of((Criterion("a", 2), Criterion("b", 2), Criterion("c", -1)), (True, False, True))
    0.25
    """
    earned = sum(criterion.weight for criterion, is_met in zip(criteria, met, strict=True) if is_met)
    return min(1.0, max(0.0, earned / sum(max(criterion.weight, 0) for criterion in criteria)))


def decisions_of(reply: str, count: int) -> list[bool]:
    """The decisions of a reply with one line for each criterion. NoReply unless each has exactly one."""
    found: dict[int, bool | None] = {}
    for number, words in _LINE.findall(reply):
        if int(number) in found:
            raise NoReply(f"decided criterion {number} twice")
        found[int(number)] = decision_of(words)
    missing = [n for n in range(1, count + 1) if found.get(n) is None]
    if missing:
        raise NoReply(f"said neither YES nor NO about criterion {missing[0]}")
    if len(found) > count:
        raise NoReply(f"decided criterion {max(found)}, and there are {count}")
    return [bool(found[n]) for n in range(1, count + 1)]
