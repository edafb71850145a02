"""An answer of a step that shows what a finding says, as the command that prints it."""

import shlex
from collections.abc import Callable, Sequence

import numpy as np

from menon.record.reader import RunView
from menon.types import Graded

SHOWS: dict[str, Callable[[Graded], bool]] = {
    "cut": lambda one: one.rollout.finish == "length",
    "long": lambda one: one.rollout.finish == "length",
    "endless": lambda one: one.rollout.finish == "length",
    "blank": lambda one: not one.rollout.graded_text.strip(),
    "unread": lambda one: one.verdict.parts.get("unparsable", 0.0) == 1,
    "graders": lambda one: bool(one.verdict.error),
    "all_wrong": lambda one: one.verdict.acc == 0,
    "all_right": lambda one: one.verdict.acc == 1,
    "collapse": lambda one: one.verdict.acc == 0,
    "explosion": lambda one: one.verdict.acc == 0,
    "few_groups": lambda one: one.verdict.acc == 0,
    "skipped": lambda one: abs(one.verdict.score) > 1e6,
    "not_finite": lambda one: abs(one.verdict.score) > 1e6,
}
"""Kind -> whether an answer is an example of it."""
MOST: dict[str, Callable[[Graded], float]] = {
    "reversed": lambda one: one.verdict.score if one.verdict.acc == 0 else -np.inf,
    "exploited": lambda one: one.verdict.score if one.verdict.acc == 0 else -np.inf,
    "short": lambda one: -len(one.rollout.graded_text),
    "repetition": lambda one: repeated(one.rollout.graded_text),
}
"""Kind -> the number of which the answer with the largest is the best example."""


def repeated(text: str) -> float:
    """Share of the text's pieces of four characters that were there before."""
    pieces = [text[i : i + 4] for i in range(len(text) - 3)]
    return 1 - len(set(pieces)) / len(pieces) if pieces else 0.0


def example(view: RunView, kind: str, step: int, graded: Sequence[Graded]) -> str:
    """The command that shows an answer, or the step. The answers of evaluations have no such command, so the
    first step stands for the evaluation before it."""
    if not view.transcripts.steps:
        return ""
    shown = step if step in view.transcripts.steps else view.transcripts.steps[0 if step == 0 else -1]
    command = f"menon show {shlex.quote(str(view.path))} step={shown}"
    if shown != step or not graded:
        return command
    if kind in MOST:
        one = max(graded, key=MOST[kind])
    else:
        shows = SHOWS.get(kind, lambda _: False)
        fitting = [one for one in graded if shows(one)]
        if not fitting:
            return command
        one = fitting[0]
    return f"{command} group={one.rollout.group} answer={one.rollout.sample}"
