"""Guess the number: the observation after each guess is whether the number is higher or lower."""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from menon.errors import UserError
from menon.streams import stream
from menon.types import Prompt

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass
class GuessNumber:
    """A guess is the last number of a line. The observation is `higher` or `lower`, or `no number`; a hit
    earns 1 and ends the episode, the last of `guesses` lines without a hit ends it with 0.

    The number is the row's answer. If that is no number, one is drawn from the seed, a new one for each visit
    of a prompt.
    """

    low: int = 1
    """Least number."""
    high: int = 100
    """Largest number."""
    guesses: int = 7
    """Most guesses of an episode."""
    kind: Literal["guess_number"] = "guess_number"
    stop: ClassVar[tuple[str, ...]] = ("\n",)
    secret: int = field(default=0, init=False, repr=False, compare=False)
    left: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high or self.guesses < 1:
            raise UserError(
                f"there is nothing to guess from {self.low} to {self.high} in {self.guesses} guesses; "
                "change low, high or guesses"
            )

    def reset(self, prompt: Prompt, seed: int) -> str:
        answer = (prompt.answer or "").strip()
        drawn = int(stream(seed, "guess_number").integers(self.low, self.high + 1))
        self.secret, self.left = int(answer) if _NUMBER.fullmatch(answer) else drawn, self.guesses
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        numbers = _NUMBER.findall(text)
        guess = int(numbers[-1]) if numbers else None
        self.left -= 1
        if guess == self.secret:
            return "", 1.0, True
        told = "no number" if guess is None else "higher" if guess < self.secret else "lower"
        gap = "" if text.endswith("\n") else "\n"
        return f"{gap}{told}\n", 0.0, self.left == 0

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, str]]:
        """`n` different numbers of one split; every tenth number is held out."""
        question = f"I think of a number from {self.low} to {self.high}. Guess it, one number a line.\n"
        numbers = self._numbers(split)
        order = stream(seed, "guess_number", split).permutation(len(numbers))[:n]
        return [{"question": question, "answer": str(numbers[place])} for place in order]

    def room(self, split: str) -> int:
        return len(self._numbers(split))

    def _numbers(self, split: str) -> list[int]:
        return [
            x for x in range(self.low, self.high + 1) if (x % 10 == self.high % 10) == (split == "heldout")
        ]
