"""The same question at the start and now: of the evaluations, and of training where a question came again."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.record.reader import Line, RunView, StepFiles
from menon.report.answers import counts, paired
from menon.workbench.answer_filter import SECONDS, as_shown, whole
from menon.workbench.answer_rows import AnswerRows, Answers
from menon.workbench.reading import reading

PAGE = 20
"""Questions of one answer of the server."""
COLUMNS = ("prompt", "completion", "answer", "score", "acc", "finish", "parts", "error", "prompt_index")


def evaluated(view: RunView, query: Mapping[str, str]) -> dict[str, Any]:
    """The questions of the first and the last evaluation, or of those named by `first` and `last`, with both
    answers: how often each kind of change occurs, and one page of the kind asked for."""
    there = view.answers.steps
    if len(there) < 2:
        return {
            "there": there,
            "why": "two evaluations with answers are needed, and this run has fewer so far",
        }
    first, last = whole(query, "first"), whole(query, "last")
    first, last = there[0] if first is None else first, there[-1] if last is None else last
    before, after = (evaluation(view, step) for step in (first, last))
    pairs = paired(before, after)
    if not pairs:
        return {
            "there": there,
            "why": f"the evaluations of steps {first} and {last} asked different questions",
        }
    kind, kinds = query.get("kind", ""), list(counted := counts(pairs))
    chosen = [pair for pair in pairs if kind in ("", "-".join(pair.kind))]
    chosen.sort(key=lambda pair: kinds.index(pair.kind))
    begin = whole(query, "offset") or 0
    return {
        "there": there,
        "first": first,
        "last": last,
        "kinds": [
            {"kind": "-".join(kind), "words": list(kind), "count": count} for kind, count in counted.items()
        ],
        "total": len(chosen),
        "pairs": [
            {
                "row": pair.row,
                "kind": list(pair.kind),
                "before": dict(pair.before),
                "after": dict(pair.after),
            }
            for pair in chosen[begin : begin + PAGE]
        ],
    }


def evaluation(view: RunView, step: int) -> list[Line]:
    """The answers of the evaluation after a step, with the columns of `COLUMNS` that it has."""
    with reading(view.answers.path(step)):
        stored = view.answers.columns(step)
        return view.answers.rows(step, [name for name in COLUMNS if name in stored])


def trained(rows: AnswerRows, files: StepFiles, query: Mapping[str, str]) -> dict[str, Any]:
    """The questions that training asked at more than one step, with the mean reward and the first answer of
    their first and of their last visit; those whose mean reward changed most come first."""
    answers = rows.read(files, files.steps, time.monotonic() + SECONDS)
    first, last, visits = visits_of(answers)
    change = visits.mean[last] - visits.mean[first]
    order = np.argsort(-np.abs(change), kind="stable")
    begin = whole(query, "offset") or 0
    pairs = []
    for place in order[begin : begin + PAGE]:
        pair: dict[str, Any] = {"change": float(change[place])}
        for name, visit in (("before", first[place]), ("after", last[place])):
            one, row = answers.place(int(visits.index[visit]))
            shown = as_shown(one, row, rows.texts(files, one))
            pair[name] = shown | {"mean": float(visits.mean[visit]), "samples": int(visits.count[visit])}
        pairs.append(pair)
    return {
        "total": len(order),
        "pairs": pairs,
        "pending": answers.pending,
        "broken": [{"step": step, "why": why} for step, why in answers.broken.items()],
    }


@dataclass(frozen=True)
class Visits:
    """Each question at each step that asked it, questions in order, then steps."""

    question: NDArray[np.int64]
    index: NDArray[np.int64]
    """The first answer."""
    mean: NDArray[np.float64]
    """Mean reward; NaN where no answer has one."""
    count: NDArray[np.int64]
    """Answers."""


def visits_of(answers: Answers) -> tuple[NDArray[np.int64], NDArray[np.int64], Visits]:
    """The visits of every question, and places of the first and of the last visit of those questions that
    were visited more than once. Nodes of trees are no answers of their own and are left out."""
    if not answers.steps:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, Visits(nothing, nothing, np.zeros(0), nothing)
    names = ("prompt_index", "step", "score", "node", "age")
    question, step, score, node, age = (answers.column(name) for name in names)
    kept = ((question >= 0) & (node < 0) & (age == 0)).nonzero()[0]
    order = kept[np.lexsort((kept, step[kept], question[kept]))]
    pair = np.stack([question[order], step[order]])
    starts = np.flatnonzero(np.r_[True, (pair[:, 1:] != pair[:, :-1]).any(axis=0)][: len(order)])
    count = np.diff(np.r_[starts, len(order)])
    owner = np.repeat(np.arange(len(starts)), count)
    graded = ~np.isnan(score[order])
    number = np.bincount(owner[graded], minlength=len(starts))
    total = np.bincount(owner[graded], weights=score[order][graded], minlength=len(starts))
    mean = np.divide(total, number, out=np.full(len(starts), np.nan), where=number > 0)
    asked = question[order][starts]
    first = np.flatnonzero(np.r_[True, asked[1:] != asked[:-1]][: len(asked)])
    last = np.r_[first[1:], len(asked)] - 1
    again = last > first
    return first[again], last[again], Visits(asked, order[starts], mean, count)
