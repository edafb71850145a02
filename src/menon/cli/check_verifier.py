"""`menon check verifier FILE.jsonl`: does a reward say what labelled answers deserve, and in time?"""

import math
import os
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menon.cli.json_lines import json_lines
from menon.errors import UserError
from menon.parts import Around, built, close
from menon.prompts.sources import read_bytes
from menon.reward.code.signatures import Asked, judge
from menon.reward.extract import LENIENT, WAYS, names
from menon.reward.math.answer import MathAnswer
from menon.reward.protocols import Reward
from menon.reward.rules import KINDS, reward_from
from menon.types import Verdict
from menon.user_code import unknown_reward

LIMIT = 2.0
"""Seconds within which a case must be judged if it names no limit of its own."""
SHOWN = 20
"""How many of the cases that went wrong are printed one by one."""
FLAGS = ("unparsable", "too_costly")


@dataclass(frozen=True)
class Judged:
    """One case with its verdict. A case that fails, or takes too long, is wrong even if its verdict is
    right."""

    case: Mapping[str, Any]
    verdict: Verdict
    seconds: float

    @property
    def accepted(self) -> bool:
        return self.verdict.score == 1

    @property
    def late(self) -> bool:
        return self.seconds > float(self.case.get("must_return_within_s") or LIMIT)

    @property
    def right(self) -> bool:
        return self.accepted == self.case["expected"] and not self.late and not self.verdict.error

    @property
    def hostile(self) -> bool:
        return "hostile" in f"{self.case.get('group', '')} {self.case.get('kind', '')}"


def check_verifier(path: str, reward: str = "math", ways: str = "lenient") -> int:
    """Judges the cases of a file (docs/rewards.md) one after the other, prints a table, and counts; returns 0
    if all are right.

    Parameters: `reward` is a kind, or a function file.py:name; `ways` says where `math` looks for results:
    strict, as in training, or lenient. UserError: the file cannot be read, a case lacks a field, or there is
    no such reward.
    """
    cases = read_cases(path)
    made = reward_named(reward, ways)
    files = set(os.listdir("."))
    try:
        judged = [judge_case(case, made) for case in cases]
    finally:
        close(made)
    for line in report(judged):
        print(line)
    appeared = sorted(set(os.listdir(".")) - files)
    if appeared:
        print(
            f"new in this folder since the check began, perhaps written by an answer: {', '.join(appeared)}"
        )
    print(last_line(judged), flush=True)
    return 0 if all(one.right for one in judged if counts(one)) and not appeared else 1


def read_cases(path: str) -> list[dict[str, Any]]:
    """The cases of a JSON-lines file; UserError if it cannot be read or a case lacks a field."""
    cases = []
    for number, case in json_lines(path, read_bytes(Path(path))):
        for name, kind in {"gold": str, "response": str, "expected": bool}.items():
            if not isinstance(case, dict) or not isinstance(case.get(name), kind):
                what = "true or false" if kind is bool else "text"
                raise UserError(
                    f"{path}, line {number}: '{name}' must be {what}; a case has gold, response and expected"
                )
        cases.append(case)
    if not cases:
        raise UserError(f"{path} is empty; write one case per line, with gold, response and expected")
    return cases


def reward_named(name: str, ways: str = "strict") -> Reward:
    """The reward of this kind, or the function file.py:name."""
    if ways not in ("strict", "lenient"):
        raise UserError(f"ways is '{ways}'; choose strict, as in training, or lenient")
    if name == "math":
        read = names(LENIENT if ways == "lenient" else WAYS)
        return built(MathAnswer(read, worked=False), Around())  # the cases are about equality
    if ":" not in name and name not in KINDS:
        raise unknown_reward(name, KINDS)
    return reward_from(name if ":" in name else KINDS[name](), Around())


def judge_case(case: Mapping[str, Any], reward: Reward) -> Judged:
    """Judges one case by the reward, and measures the time."""
    response = f"\\boxed{{{case['response']}}}" if case.get("mode") == "answer" else case["response"]
    began = time.perf_counter()
    verdict = judge(reward, "menon", Asked("", response, case["gold"]))
    return Judged(case, verdict, time.perf_counter() - began)


def counts(one: Judged) -> bool:
    """Whether a case counts in the accuracy: its expected verdict is not disputed."""
    return not one.case.get("disputed")


def report(judged: Sequence[Judged]) -> list[str]:
    """The lines of the table, and of the cases that went wrong."""
    counted = [one for one in judged if counts(one)]
    head = f"{len(judged)} cases, {len(judged) - len(counted)} of them disputed and not counted"
    lines = [
        head,
        f"{'':<22}{'accepted':>9}{'wrong':>7}{'unparsable':>12}{'too costly':>12}{'error':>7}{'late':>6}",
    ]
    for label, expected in (("should be accepted", True), ("should be refused", False)):
        rows = [one for one in counted if one.case["expected"] is expected]
        tally = Counter(outcome(one) for one in rows)
        cells = [tally["accepted"], tally["wrong"], tally["unparsable"], tally["too_costly"], tally["error"]]
        widths = (9, 7, 12, 12, 7)
        late = sum(one.late for one in rows)
        lines.append(
            f"{label:<22}" + "".join(f"{n:>{w}}" for n, w in zip(cells, widths, strict=True)) + f"{late:>6}"
        )
    kinds = Counter(str(one.case.get("kind", "")) for one in counted)
    bad = Counter(str(one.case.get("kind", "")) for one in counted if not one.right)
    lines += [f"  {kind}: {bad[kind]} of {kinds[kind]} not right" for kind in sorted(bad)]
    wrong = [one for one in counted if not one.right]
    lines += [describe(one) for one in wrong[:SHOWN]]
    return lines + ([f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else [])


def outcome(one: Judged) -> str:
    """The outcome of a case in a word, for the table."""
    if one.verdict.error:
        return "error"
    flag = next((flag for flag in FLAGS if one.verdict.parts.get(flag)), "wrong")
    return "accepted" if one.accepted else flag


def describe(one: Judged) -> str:
    """One line about a case that went wrong."""
    said = one.verdict.error or f"{'accepted' if one.accepted else 'refused'} in {one.seconds:.2f} s"
    gold, response = (short(one.case[name]) for name in ("gold", "response"))
    return f"  {one.case.get('id', '')} {said}: gold {gold}, response {response}"


def short(text: str) -> str:
    """A text in quotes, shortened for one line."""
    shown = repr(text)
    return shown if len(shown) <= 60 else f"...{shown[-57:]}"


def last_line(judged: Sequence[Judged]) -> str:
    """The last line of the output. Accuracy and false accepts are over the cases that are not disputed,
    limits and errors over all, times over all but the hostile ones."""
    counted = [one for one in judged if counts(one)]
    times = [1000 * one.seconds for one in judged if not one.hostile] or [math.nan]
    return (
        f"accuracy={sum(one.right for one in counted) / max(1, len(counted)):.4f} "
        f"false_accepts={sum(one.accepted and not one.case['expected'] for one in counted)} "
        f"over_limit={sum(one.late for one in judged)} "
        f"errors={sum(bool(one.verdict.error) for one in judged)} "
        f"median_ms={statistics.median(times):.3f} mean_ms={statistics.mean(times):.3f}"
    )
