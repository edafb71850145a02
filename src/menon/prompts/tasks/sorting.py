"""Sorting: `sort 4,8,2,7=?` is answered by `#2,4,7,8`, with or without working before it."""

import random
import re
from dataclasses import dataclass
from math import comb
from typing import Any, Literal

from menon.prompts.tasks.split import draw_rows, level_of, share_of
from menon.thought import after_thinking

_ANSWER = re.compile(r"#([0-9]+(?:, ?[0-9]+)*)\Z")


@dataclass(frozen=True)
class Level:
    count: int
    largest: int


LEVELS = (Level(4, 9), Level(6, 9), Level(6, 99), Level(10, 99))


@dataclass(frozen=True)
class Sorting:
    """Numbers that are not in order; the answer gives them in rising order. A number may occur twice.

    | difficulty | numbers | up to |
    |---|---|---|
    | 1 | 4 | 9 |
    | 2 | 6 | 9 |
    | 3 | 6 | 99 |
    | 4 | 10 | 99 |

    >>> Sorting().rows("train", 1, seed=0)
    [{'question': 'sort 4,8,2,1=?', 'answer': '1,2,4,8'}]
    """

    difficulty: int = 1
    """1 to 4."""
    kind: Literal["sorting"] = "sorting"

    def __post_init__(self) -> None:
        level_of(LEVELS, self.difficulty, "sorting")

    @property
    def level(self) -> Level:
        return LEVELS[self.difficulty - 1]

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """`n` different questions of one split, the same for the same arguments."""
        return draw_rows(self, split, n, self.room(split), self._row, f"sorting {self.difficulty} {seed}")

    def _row(self, rng: random.Random) -> dict[str, Any]:
        numbers = self.draw(rng)
        return {"question": f"sort {listed(numbers)}=?", "answer": listed(sorted(numbers))}

    def draw(self, rng: random.Random) -> list[int]:
        """One question's numbers, from either split."""
        while True:
            numbers = [rng.randint(1, self.level.largest) for _ in range(self.level.count)]
            if numbers != sorted(numbers):
                return numbers

    def room(self, split: str) -> int:
        """How many different rows `rows` gives for a split: about half of them."""
        count, largest = self.level.count, self.level.largest
        return share_of(split, largest**count - comb(largest + count - 1, count))

    def stated(self, completion: str) -> str | None:
        """The numbers that a completion ends with, for votes; None where it states none."""
        found = _ANSWER.search(completion.rstrip()[-200:])
        return found.group(1).replace(" ", "") if found else None

    def grade(self, prompt: str, completion: str, answer: str, **columns: object) -> float:
        """1.0 if the completion ends with `#` and exactly the right list (spaces after commas are allowed),
        else 0.0."""
        return float(self.stated(after_thinking(prompt, completion) or "") == answer)


def listed(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))
