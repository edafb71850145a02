"""Chains of true and false, worked out from left to right: `T&!F|T,F^T&T=?` is answered by `#TT`."""

import random
import re
from dataclasses import dataclass
from typing import Any, Literal

from menon.prompts.tasks.split import draw_rows, level_of, share_of
from menon.thought import after_thinking

_ANSWER = re.compile(r"#([TF]+)\Z")


@dataclass(frozen=True)
class Level:
    chains: int
    """Number of chains; each gives one letter of the answer, so a guess is right once in `2**chains`."""
    operators: int
    """Number of operators in each chain."""


LEVELS = (Level(2, 2), Level(2, 4), Level(3, 6), Level(4, 8))


@dataclass(frozen=True)
class Boolean:
    """Chains of T and F with `&` (and), `|` (or), `^` (exactly one) and `!` (not, of the letter after it).

    No operator binds more tightly than another: a chain is worked out from left to right, `T|T&F` is
    `(T|T)&F` = F.

    | difficulty | chains | operators in each |
    |---|---|---|
    | 1 | 2 | 2 |
    | 2 | 2 | 4 |
    | 3 | 3 | 6 |
    | 4 | 4 | 8 |

    >>> Boolean().rows("train", 1, seed=0)
    [{'question': 'F|!F&!F,T^T|!F=?', 'answer': 'TT'}]
    """

    difficulty: int = 1
    """1 to 4."""
    kind: Literal["boolean"] = "boolean"

    def __post_init__(self) -> None:
        level_of(LEVELS, self.difficulty, "boolean")

    @property
    def level(self) -> Level:
        return LEVELS[self.difficulty - 1]

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """`n` different questions of one split, the same for the same arguments."""
        return draw_rows(self, split, n, self.room(split), self._row, f"boolean {self.difficulty} {seed}")

    def _row(self, rng: random.Random) -> dict[str, Any]:
        chains = [self.draw(rng) for _ in range(self.level.chains)]
        return {"question": f"{','.join(chains)}=?", "answer": "".join(map(value, chains))}

    def draw(self, rng: random.Random) -> str:
        """One chain."""
        letters = [rng.choice(("T", "F", "!T", "!F")) for _ in range(self.level.operators + 1)]
        return letters[0] + "".join(rng.choice("&|^") + letter for letter in letters[1:])

    def room(self, split: str) -> int:
        """How many different rows `rows` gives for a split: about half of them."""
        operators = self.level.operators
        return share_of(split, (4 ** (operators + 1) * 3**operators) ** self.level.chains)

    def stated(self, completion: str) -> str | None:
        """The letters that a completion ends with, for votes; None where it states none."""
        found = _ANSWER.search(completion.rstrip()[-50:])
        return found.group(1) if found else None

    def grade(self, prompt: str, completion: str, answer: str, **columns: object) -> float:
        """1.0 if the completion ends with `#` and exactly the right letters, else 0.0."""
        return float(self.stated(after_thinking(prompt, completion) or "") == answer)


def value(chain: str) -> str:
    """
    >>> value("T|T&F"), value("!T^!F")
    ('F', 'T')
    """
    total, operator = False, "|"
    for operator, negated, letter in re.findall(r"([&|^]?)(!?)([TF])", chain):
        this = (letter == "T") != bool(negated)
        total = {"&": total and this, "|": total or this, "^": total != this, "": this}[operator]
    return "T" if total else "F"
