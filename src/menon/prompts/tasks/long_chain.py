"""Long chains of additions and subtractions: `3+5-6+4-...=?`, where one late slip decides.

Every step is easy, because the running total stays small; there are so many of them that an answer is right
only if none went wrong. So most wrong answers are right up to some step, which makes it possible to measure
whether a method of credit assignment finds that step. A response states its answer as that of `chain_sum`
does, with or without working before it:

    3+5-6+4=?\\n3+5=8\\n8-6=2\\n2+4=6\\n#6
"""

import random
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from menon.errors import UserError
from menon.prompts.tasks.chain_sum import extract, shows_line
from menon.prompts.tasks.split import draw_rows, share_of
from menon.thought import after_thinking

MAX_STEPS = 64
LARGEST_TERM = 9

_SECOND_THOUGHT = re.compile(r"=[0-9]+ wait, ")


@dataclass(frozen=True)
class LongChain:
    """Chains of `steps` additions or subtractions of one-digit terms, whose totals all lie between 1 and
    `largest`.

    The question begins with the first total; each next total is drawn uniformly from those that one term can
    reach. So all final totals are about equally likely, and a guess is right about once in `largest`.

    >>> LongChain(steps=3).rows("train", 1, seed=0)
    [{'question': '9-6+5-3=?', 'answer': '5'}]
    """

    steps: int = 12
    """Additions and subtractions in a chain."""
    largest: int = 9
    """The largest running total. At 9 a line of working is 5 bytes and a newline (`3+5=8`)."""
    kind: Literal["long_chain"] = "long_chain"

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= MAX_STEPS:
            raise UserError(f"A chain has 2 to {MAX_STEPS} steps, not {self.steps}.")
        if not 2 <= self.largest <= 99:
            raise UserError(f"Totals stay within 2 to 99, not {self.largest}.")

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """`n` different questions of one split, the same for the same arguments."""
        return draw_rows(self, split, n, self.room(split), self._row, f"long_chain {seed}")

    def _row(self, rng: random.Random) -> dict[str, Any]:
        totals = self.draw(rng)
        return {"question": ask(totals), "answer": str(totals[-1])}

    def draw(self, rng: random.Random) -> list[int]:
        """[steps + 1] the running totals of one question, from either split; the first is its first term."""
        totals = [rng.randint(1, self.largest)]
        for _ in range(self.steps):
            totals.append(rng.choice(self._next(totals[-1])))
        return totals

    def _next(self, total: int) -> list[int]:
        """The totals that one term leads to."""
        least, most = max(1, total - LARGEST_TERM), min(self.largest, total + LARGEST_TERM)
        return [other for other in range(least, most + 1) if other != total]

    def room(self, split: str) -> int:
        """How many different rows `rows` gives for a split: about half of them."""
        chains = dict.fromkeys(range(1, self.largest + 1), 1)  # total -> chains that lead there
        for _ in range(self.steps):
            chains = {total: sum(chains[before] for before in self._next(total)) for total in chains}
        return share_of(split, sum(chains.values()))

    def stated(self, completion: str) -> str | None:
        """The answer that a completion states, for votes; None where it states none."""
        return extract(completion)

    def works(self, completion: str) -> bool:
        """Whether an answer shows working: at least one line with an equation."""
        return shows_line(completion)

    def reflects(self, completion: str) -> bool:
        """Whether an answer corrects a total: it says `wait, ` after one."""
        return bool(_SECOND_THOUGHT.search(completion))

    def grade(self, prompt: str, completion: str, answer: str, **columns: object) -> float:
        """1.0 if the completion ends with `#` and exactly the right digits (white space may follow), else
        0.0; as `ChainSum`."""
        return float(extract(after_thinking(prompt, completion) or "") == answer)


def ask(totals: list[int]) -> str:
    """The question of running totals: `[3, 8, 2]` is `3+5-6=?`."""
    terms = [f"{after - before:+d}" for before, after in pairwise(totals)]
    return f"{totals[0]}{''.join(terms)}=?"
