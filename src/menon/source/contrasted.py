"""Given answers, each beside one that a model writes to the same question."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from menon.batch import pack_examples
from menon.source.protocols import Gathered
from menon.source.rows import Rows
from menon.types import Example, StepReport, Tokens


@dataclass(frozen=True)
class Beside:
    """The answer beside that of one row."""

    row: int
    prompt: Tokens
    """[P] what stands before the answer."""
    answer: Tokens
    """[T] what stood beside the row's answer when it last came; at first the row's own."""
    visits: int
    """How often the row came before."""


Write = Callable[[Sequence[Beside]], Sequence[Tokens]]
"""The answers that stand beside those of the rows now, in the order of what was asked."""


class Contrasted:
    """Pairs of a given answer (acc 1) and the one that `write` puts beside it (acc 0).

    The state holds the written answers, so that a resumed run goes on from them. A row that comes twice in a
    step has one written answer there.
    """

    def __init__(self, rows: Rows, write: Write) -> None:
        self.rows, self.write = rows, write
        self._last: dict[int, Beside] = {}

    def next(self) -> Gathered:
        numbers = self.rows.take()
        asked = [self._last.get(row) or first(row, *self.rows.rows[row]) for row in dict.fromkeys(numbers)]
        for old, answer in zip(asked, self.write(asked), strict=True):
            self._last[old.row] = replace(old, answer=answer, visits=old.visits + 1)
        return Gathered(pack_examples([pair_of(self.rows.rows[row][0], self._last[row]) for row in numbers]))

    def learned(self, report: StepReport) -> None:
        self.rows.learned(report)

    def published(self, version: int) -> None:
        self.rows.published(version)

    def state(self) -> dict[str, Any]:
        known = list(self._last.values())
        return {
            "rows": self.rows.state(),
            "row": np.array([one.row for one in known], dtype=np.int64),
            "visits": np.array([one.visits for one in known], dtype=np.int64),
            "length": np.array([len(one.answer) for one in known], dtype=np.int64),
            "tokens": np.concatenate([np.zeros(0, dtype=np.int32), *(one.answer for one in known)]),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.rows.load(state["rows"])
        answers = np.split(state["tokens"], state["length"].cumsum()[:-1]) if len(state["row"]) else []
        self._last = {
            row: replace(first(row, *self.rows.rows[row]), answer=answer, visits=visits)
            for row, answer, visits in zip(
                state["row"].tolist(), answers, state["visits"].tolist(), strict=True
            )
        }

    def close(self) -> None:
        self.rows.close()


def first(row: int, given: Example) -> Beside:
    """What stands beside a row's answer before anything was written: the answer itself."""
    begin, end = answer_in(given)
    return Beside(row, given.tokens[:begin], given.tokens[begin:end], 0)


def answer_in(given: Example) -> tuple[int, int]:
    """Where the last learned answer of a text begins and ends."""
    end = int(given.is_action.nonzero()[0][-1]) + 1
    read = (~given.is_action[:end]).nonzero()[0]
    return int(read[-1]) + 1 if len(read) else 0, end


def pair_of(given: Example, beside: Beside) -> tuple[Example, Example]:
    """The last answer of a row, and the one beside it, after the same prompt."""
    begin, end = answer_in(given)

    def example(answer: Tokens, acc: float) -> Example:
        tokens = np.concatenate([beside.prompt, answer])
        return Example(tokens, np.arange(len(tokens)) >= begin, given.group, acc, acc)

    return example(given.tokens[begin:end], 1.0), example(beside.answer, 0.0)
