"""Given sequences: a corpus, examples to imitate, answers of a teacher, preference pairs."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from menon.batch import pack_examples
from menon.errors import UserError
from menon.source.protocols import Gathered
from menon.streams import stream
from menon.types import Example, StepReport


class Rows:
    """`per_step` rows a step, each once per epoch, in an order that depends on the seed and the epoch. A row
    is one example, or the two of a preference; the pairs of one prompt come one after the other, because they
    share its weight. The last step of an epoch continues into the next one. `seed=None` keeps the order of
    the rows.
    """

    def __init__(self, rows: Sequence[tuple[Example, ...]], per_step: int, seed: int | None = 0) -> None:
        if not rows or per_step < 1:
            raise UserError(f"{len(rows)} rows and {per_step} rows a step; a source needs at least 1 of each")
        self.rows, self.per_step, self.seed = rows, per_step, seed
        self._taken = 0
        self._pairs = len(rows[0]) > 1
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, dtype=np.int64))
        self._fingerprint = fingerprint_of(rows)

    def next(self) -> Gathered:
        return Gathered(pack_examples([self.rows[row] for row in self.take()]))

    def take(self) -> list[int]:
        """The numbers of the next step's rows."""
        places = range(self._taken, self._taken + self.per_step)
        self._taken += self.per_step
        return [self._row(place) for place in places]

    def first(self, count: int) -> list[tuple[Example, ...]]:
        """The rows that come first, at most all of them once."""
        return [self.rows[self._row(place)] for place in range(min(count, len(self.rows)))]

    def _row(self, place: int) -> int:
        epoch, index = divmod(place, len(self.rows))
        if self.seed is None:
            return index
        if self._order[0] != epoch:
            order = stream(self.seed, "rows", epoch).permutation(len(self.rows))
            self._order = (
                epoch,
                together(order, [row[0].group for row in self.rows]) if self._pairs else order,
            )
        return int(self._order[1][index])

    def learned(self, report: StepReport) -> None:
        pass

    def published(self, version: int) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"taken": self._taken, "rows": self._fingerprint}

    def load(self, state: Mapping[str, Any]) -> None:
        if state["rows"] != self._fingerprint:
            raise UserError(
                "the rows are not those that this run began with; put the old ones back, or start a new run"
            )
        self._taken = int(state["taken"])

    def close(self) -> None:
        pass


class Corpus:
    """Steps of a corpus that is generated: `steps()` gives the examples of one step after the other, the same
    each time it is called. `name` stands for the corpus and all its settings."""

    def __init__(self, steps: Callable[[], Iterator[Sequence[Example]]], name: str) -> None:
        self.steps, self.name = steps, name
        self._taken = 0
        self._stream = steps()

    def next(self) -> Gathered:
        self._taken += 1
        return Gathered(pack_examples([(example,) for example in next(self._stream)]))

    def learned(self, report: StepReport) -> None:
        pass

    def published(self, version: int) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"taken": self._taken, "name": self.name}

    def load(self, state: Mapping[str, Any]) -> None:
        if state["name"] != self.name:
            raise UserError(
                "the corpus is not the one that this run began with; put the old settings back, or "
                "start a new run"
            )
        self._taken = int(state["taken"])
        self._stream = islice(self.steps(), self._taken, None)

    def close(self) -> None:
        pass


def together(order: np.ndarray, group: Sequence[int]) -> np.ndarray:
    """The order, changed so that each group stands where its first member does.

    >>> together(np.array([2, 0, 3, 1]), [7, 8, 8, 9])
    array([2, 1, 0, 3])
    """
    place: dict[int, int] = {}
    for row in order.tolist():
        place.setdefault(group[row], len(place))
    return order[np.argsort([place[group[row]] for row in order.tolist()], kind="stable")]


def fingerprint_of(rows: Sequence[tuple[Example, ...]]) -> str:
    """16 hexadecimal digits that depend on everything in every row and on the order of the rows."""
    digest = hashlib.blake2b(digest_size=8)
    for example in (example for row in rows for example in row):
        digest.update(len(example.tokens).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(example.tokens, dtype="<i4").tobytes())
        digest.update(np.packbits(example.is_action).tobytes())
        digest.update(np.array([example.group, example.score, example.acc], dtype="<f8").tobytes())
        if example.teacher:
            digest.update(example.teacher.to_bytes(4, "little"))
    return digest.hexdigest()
