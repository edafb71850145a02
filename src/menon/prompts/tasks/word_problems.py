"""Small word problems: the arithmetic is easy, the difficulty is in the reading.

Ann has 7 pens. She finds 5. She gives away 3. How many pens does Ann have?#9
"""

import random
from dataclasses import dataclass
from typing import Any, Literal

from menon.prompts.tasks.chain_sum import extract
from menon.prompts.tasks.split import draw_rows, level_of, share_of
from menon.thought import after_thinking

NAMES = {
    "Ann": "She",
    "Ben": "He",
    "Eva": "She",
    "Leo": "He",
    "Mia": "She",
    "Sam": "He",
    "Zoe": "She",
    "Tom": "He",
}
THINGS = ("pens", "eggs", "keys", "cups", "nuts", "figs", "hats", "maps")
GAINS = ("finds", "buys", "is given")
LOSSES = ("gives away", "loses", "sells")
MOST = 60
"""The largest amount in a story."""


@dataclass(frozen=True)
class Level:
    changes: int
    """How many things happen: gains, losses, and with `doubles` also doublings."""
    doubles: bool
    aside: bool
    """Whether there is one more sentence, with a number that has nothing to do with the question."""


LEVELS = (Level(1, False, False), Level(2, False, False), Level(3, True, False), Level(4, True, True))


@dataclass(frozen=True)
class WordProblems:
    """A person has some things, gets and loses some, and the question is how many are left. Amounts stay
    between 1 and 60.

    | difficulty | what happens |
    |---|---|
    | 1 | one gain or loss |
    | 2 | two |
    | 3 | three changes, doublings among them |
    | 4 | four changes, and a sentence about somebody else that is beside the point |

    >>> WordProblems().rows("train", 1, seed=0)[0]["question"]
    'Ann has 13 keys. She loses 4. She buys 7. How many keys does Ann have?'
    """

    difficulty: int = 2
    """1 to 4."""
    kind: Literal["word_problems"] = "word_problems"

    def __post_init__(self) -> None:
        level_of(LEVELS, self.difficulty, "word_problems")

    @property
    def level(self) -> Level:
        return LEVELS[self.difficulty - 1]

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """`n` different questions of one split, the same for the same arguments."""
        return draw_rows(
            self, split, n, self.room(split), self._row, f"word_problems {self.difficulty} {seed}"
        )

    def _row(self, rng: random.Random) -> dict[str, Any]:
        name, other = rng.sample(list(NAMES), 2)
        thing = rng.choice(THINGS)
        amount = rng.randint(2, 20)
        sentences = [f"{name} has {amount} {thing}."]
        for _ in range(self.level.changes):
            what, amount = self.change(amount, rng)
            sentences.append(f"{name if self.level.aside else NAMES[name]} {what}.")
        if self.level.aside:  # first or last, so that no other sentence can be read as being about it
            sentences.insert(rng.choice((0, len(sentences))), f"{other} has {rng.randint(2, 20)} {thing}.")
        return {
            "question": f"{' '.join(sentences)} How many {thing} does {name} have?",
            "answer": str(amount),
        }

    def change(self, amount: int, rng: random.Random) -> tuple[str, int]:
        """Something that happens to the things, and how many there are then."""
        if self.level.doubles and 2 * amount <= MOST and rng.random() < 0.3:
            return "doubles them", 2 * amount
        by = rng.randint(1, 9)
        if amount > by and (amount + by > MOST or rng.random() < 0.5):
            return f"{rng.choice(LOSSES)} {by}", amount - by
        return f"{rng.choice(GAINS)} {by}", amount + by

    def room(self, split: str) -> int:
        """How many different rows `rows` gives for a split: about half of those in which everything is a
        gain."""
        return share_of(split, len(NAMES) * len(THINGS) * 19 * (len(GAINS) * 9) ** self.level.changes)

    def stated(self, completion: str) -> str | None:
        """The answer that a completion states, for votes; None where it states none."""
        return extract(completion)

    def grade(self, prompt: str, completion: str, answer: str, **columns: object) -> float:
        """1.0 if the completion ends with `#` and exactly the right digits (white space may follow), else
        0.0; as `ChainSum`."""
        return float(extract(after_thinking(prompt, completion) or "") == answer)
