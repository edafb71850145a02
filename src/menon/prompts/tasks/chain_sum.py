"""Sums of several small terms: `3+8+5+2=?`.

A small model can solve such a sum line by line, but not in one step. A response ends with a hash mark and its
answer, with or without working before it:

    3+8+5+2=?#20                                a guess
    3+8+5+2=?\\n3+8=11\\n11+5=16\\n16+2=18\\n#18     worked
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from menon.errors import UserError
from menon.prompts.tasks.split import draw_rows, share_of
from menon.thought import after_thinking

_ANSWER = re.compile(r"#([0-9]+)\s*\Z")
_LINE = re.compile(r"^[^#=\n]+=", re.MULTILINE)
_CHECK = re.compile(r"=[0-9]+ (?:ok|wait, )")


@dataclass(frozen=True)
class ChainSum:
    """Sums of `min_terms` to `max_terms` terms (each count equally often), each term from 1 to `10**digits -
    1`.

    >>> ChainSum().rows("train", 1, seed=0)[0].keys()
    dict_keys(['question', 'answer'])
    """

    min_terms: int = 4
    """Fewest terms in a sum; at least 2, or there is nothing to add."""
    max_terms: int = 6
    """Most terms in a sum."""
    digits: int = 1
    """Most digits of a term. The built-in base model has only seen sums of 2 to 7 terms of one digit."""
    kind: Literal["chain_sum"] = "chain_sum"

    def __post_init__(self) -> None:
        if self.min_terms < 2 or self.max_terms < self.min_terms:
            raise UserError(
                f"A sum needs 2 <= min_terms <= max_terms, not min_terms={self.min_terms} and "
                f"max_terms={self.max_terms}."
            )
        if self.digits not in (1, 2):
            raise UserError(f"Terms have 1 or 2 digits, not {self.digits}.")

    @property
    def largest_term(self) -> int:
        """The largest value of one term."""
        return 10**self.digits - 1

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """`n` different questions of one split, the same for the same arguments."""
        return draw_rows(self, split, n, self.room(split), self._row, f"chain_sum {seed}")

    def _row(self, rng: random.Random) -> dict[str, str]:
        terms = self.draw(rng)
        return {"question": ask(terms), "answer": str(sum(terms))}

    def draw(self, rng: random.Random) -> list[int]:
        """One question's terms, from either split."""
        count = rng.randint(self.min_terms, self.max_terms)
        return [rng.randint(1, self.largest_term) for _ in range(count)]

    def room(self, split: str) -> int:
        """How many different rows `rows` gives for a split: all of them where they can be counted, else about
        half."""
        total = sum(self.largest_term**count for count in range(self.min_terms, self.max_terms + 1))
        return share_of(split, total, self._every)

    def _every(self) -> Iterator[str]:
        """Every question there is."""
        for count in range(self.min_terms, self.max_terms + 1):
            yield from map(ask, product(range(1, self.largest_term + 1), repeat=count))

    def stated(self, completion: str) -> str | None:
        """The answer that a completion states, for votes; None where it states none."""
        return extract(completion)

    def works(self, completion: str) -> bool:
        """Whether an answer shows working: at least one line with an equation."""
        return shows_line(completion)

    def reflects(self, completion: str) -> bool:
        """Whether an answer checks a line: it says `ok` or `wait, ` after one."""
        return bool(_CHECK.search(completion))

    def grade(self, prompt: str, completion: str, answer: str, **columns: object) -> float:
        """1.0 if the completion ends with `#` and exactly the right digits (white space may follow), else
        0.0.

        Text is untrusted: an empty, unfinished or malformed answer is wrong, and nothing raises. Only the end
        counts, so a list of guesses earns only what its last one earns.
        """
        return float(extract(after_thinking(prompt, completion) or "") == answer)


def ask(terms: list[int] | tuple[int, ...]) -> str:
    """The text of a question, which is also a whole prompt: no template is needed."""
    return "+".join(map(str, terms)) + "=?"


def extract(completion: str) -> str | None:
    """The digits of the final answer, or None where the text does not end with one."""
    found = _ANSWER.search(completion)
    return found.group(1) if found else None


def shows_line(completion: str) -> bool:
    """Whether a line begins an equation, `3+8=`, before any hash mark."""
    return bool(_LINE.search(completion))
