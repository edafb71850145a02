"""Which answers a page asks for, and in which order."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError
from menon.record.answer_numbers import NUMBERS
from menon.record.reader import RunView, StepFiles
from menon.types import FINISHES
from menon.workbench.answer_rows import AnswerRows, Answers, StepAnswers

SORTS = ("group", "reward", "length", "advantage", "step", "age")
VERDICTS = ("right", "wrong", "unknown", "failed")
CUT = 1200
"""Characters of an answer in a list; the whole is in the token inspector."""
MOST = 48
"""Answers of a list, where the page does not say."""
SECONDS = 0.6
"""Time that one request spends on reading files; what is missing then is said, and asking again goes on."""


@dataclass(frozen=True)
class Filter:
    """Which answers are asked for; everything that is not given lets all through."""

    text: str = ""
    reward: tuple[float, float] = (-math.inf, math.inf)
    length: tuple[float, float] = (-math.inf, math.inf)
    """Tokens that the policy wrote."""
    age: float = -math.inf
    """Least number of steps since the answer was written."""
    verdict: str = ""
    finish: str = ""
    reflects: bool = False
    disagrees: bool = False
    question: int | None = None
    """`prompt_index`."""
    group: int | None = None
    sort: str = "group"
    down: bool = False

    def keeps(self, answers: Answers) -> NDArray[np.bool_]:
        """[all answers] whether each is asked for; the text is looked at elsewhere."""
        score, length = answers.column("score"), answers.column("length")
        kept = np.ones(len(length), dtype=bool)
        if self.reward != (-math.inf, math.inf):
            kept &= (score >= self.reward[0]) & (score <= self.reward[1])
        kept &= (length >= self.length[0]) & (length <= self.length[1])
        if self.verdict:
            acc = answers.column("acc")
            masks = {
                "right": acc == 1,
                "wrong": acc == 0,
                "failed": np.isnan(score),
                "unknown": np.isnan(acc),
            }
            kept &= masks[self.verdict]
        if self.finish:
            kept &= answers.column("finish") == FINISHES.index(self.finish)
        for name in ("reflects", "disagrees"):
            if getattr(self, name):
                kept &= answers.column(name).astype(bool)
        for name, wanted in (("prompt_index", self.question), ("group", self.group)):
            if wanted is not None:
                kept &= answers.column(name) == wanted
        return kept & (answers.column("age") >= self.age)

    def order(self, answers: Answers, kept: NDArray[np.int64]) -> NDArray[np.int64]:
        """The kept answers in the order asked for; answers without the number come last, equal ones stay in
        the order of the files."""
        if self.sort == "group":
            return kept[::-1] if self.down else kept
        values = answers.column("score" if self.sort == "reward" else self.sort)[kept].astype(np.float64)
        return kept[np.argsort(-values if self.down else values, kind="stable")]


def filter_of(query: Mapping[str, str]) -> Filter:
    """The filter of an address. UserError for a value that is no number or no known word."""

    def word(name: str, known: Sequence[str]) -> str:
        if (value := query.get(name, "")) not in ("", *known):
            raise UserError(f"{name} is {value!r}; it is one of {', '.join(known)}")
        return value

    return Filter(
        text=query.get("text", ""),
        reward=(number(query, "reward_min", -math.inf), number(query, "reward_max", math.inf)),
        length=(number(query, "length_min", -math.inf), number(query, "length_max", math.inf)),
        age=number(query, "age_min", -math.inf),
        verdict=word("verdict", VERDICTS),
        finish=word("finish", FINISHES),
        reflects=query.get("reflects") == "1",
        disagrees=query.get("disagrees") == "1",
        question=whole(query, "question"),
        group=whole(query, "group"),
        sort=word("sort", SORTS) or "group",
        down=query.get("down") == "1",
    )


def number(query: Mapping[str, str], name: str, instead: float) -> float:
    """A number of an address. UserError if it is none."""
    try:
        return float(query[name]) if query.get(name) else instead
    except ValueError:
        raise UserError(f"{name} is {query[name]!r}; it takes a number") from None


def whole(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of an address, None without it. UserError if it is none."""
    value = query.get(name)
    if not value:
        return None
    if not value.removeprefix("-").isdecimal() or len(value) > 15:
        raise UserError(f"{name} is {value!r}; it takes a whole number")
    return int(value)


def files_of(view: RunView, of: str) -> StepFiles:
    """The files of `of`, "training" or "evaluation". UserError for another word."""
    if of not in ("training", "evaluation"):
        raise UserError(f"of is {of!r}; it is training or evaluation")
    return view.transcripts if of == "training" else view.answers


def steps_asked(steps: Sequence[int], asked: str) -> list[int]:
    """The steps of those there are that "all", a number, or a range like "10-20" names; the newest by
    default.

    >>> steps_asked([1, 2, 3], "2-9"), steps_asked([1, 2, 3], ""), steps_asked([1, 2, 3], "all")
    ([2, 3], [3], [1, 2, 3])
    """
    low, _, high = asked.partition("-")
    if asked == "all" or not steps:
        return list(steps)
    if not asked:
        return [steps[-1]]
    if not low.isdecimal() or not (high or low).isdecimal():
        raise UserError(f"step is {asked!r}; it is a number, a range like 10-20, or all")
    return [step for step in steps if int(low) <= step <= int(high or low)]


def list_of(rows: AnswerRows, files: StepFiles, query: Mapping[str, str]) -> dict[str, Any]:
    """What a page shows of the answers that a query asks for: the steps there are, the number of answers
    and their means, one page of them, and what could not be read."""
    until = time.monotonic() + SECONDS
    there, asked = files.steps, filter_of(query)
    chosen = steps_asked(there, query.get("step", ""))
    answers = rows.read(files, chosen, until)
    kept, unsearched = asked.keeps(answers), 0
    if asked.text:
        has, unsearched = rows.having(files, answers, asked.text, until)
        kept &= has
    order = asked.order(answers, kept.nonzero()[0])
    begin, most = (
        whole(query, "offset") or 0,
        min(MOST if (given := whole(query, "most")) is None else given, 200),
    )
    shown = [answers.place(int(index)) for index in order[max(begin, 0) :][: max(most, 0)]]
    texts = {one.step: rows.texts(files, one) for one, _ in shown}
    return {
        "there": there,
        "steps": chosen,
        "answers": [as_shown(one, row, texts[one.step]) for one, row in shown],
        "groups": group_sizes(shown),
        "total": len(order),
        "of": sum(one.count for one in answers.steps),
        "means": means(answers, order),
        "pending": answers.pending + unsearched,
        "broken": [{"step": step, "why": why} for step, why in answers.broken.items()],
    }


def means(answers: Answers, index: NDArray[np.int64]) -> dict[str, float]:
    """Means over answers; NaN where no answer has the number."""
    found = {}
    for name in ("score", "acc", "length", "advantage"):
        values = answers.column(name)[index]
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        found[name] = float(known.mean()) if len(known) else math.nan
    finish = answers.column("finish")[index]
    found["cut"] = float((finish == FINISHES.index("length")).mean()) if len(finish) else math.nan
    return found


def group_sizes(shown: Sequence[tuple[StepAnswers, int]]) -> list[dict[str, Any]]:
    """Each group of the answers with its size, mean reward and share of right answers, all answers
    included."""
    found = {}
    for one, row in shown:
        group = int(one.numbers["group"][row])
        if (one.step, group) in found:
            continue
        own = one.numbers["group"] == group
        score, acc = one.numbers["score"][own], one.numbers["acc"][own]
        found[one.step, group] = {
            "step": one.step,
            "group": group,
            "size": int(own.sum()),
            "score": float(np.nanmean(score)) if (~np.isnan(score)).any() else math.nan,
            "right": int((acc == 1).sum()),
            "known": int((~np.isnan(acc)).sum()),
        }
    return list(found.values())


def as_shown(one: StepAnswers, row: int, texts: Any) -> dict[str, Any]:
    """An answer as a list shows it."""
    shown = dict(zip(NUMBERS.names or (), one.numbers[row].item(), strict=True))
    place = shown["finish"]
    shown["finish"] = FINISHES[place] if 0 <= place < len(FINISHES) else None
    written = texts.slice(row, 1).to_pylist()[0] if texts.num_columns else {}
    completion = written.get("completion") or ""
    return shown | {
        "prompt": (written.get("prompt") or "")[:CUT],
        "answer": written.get("answer"),
        "completion": completion[:CUT],
        "longer": max(0, len(completion) - CUT),
        "parts": json.loads(written.get("parts") or "{}"),
        "error": written.get("error") or "",
    }
