"""What the built-in search base learnt from: pairs of numbers that make a target, and long chains of small
steps.

Search (`countdown`) is where going on pays. A trial writes its value and the target side by side and says
whether they agree; after one that misses the writer tries the next pair or, more often, loses patience and
guesses blindly:

    #14-8                                                 guessed at once
    \\n8-3=5 6 no\\n#17+3                                   one trial, then a guess: the commonest
    \\n8-3=5 6 no\\n17-14=3 6 no\\n14-8=6 6 yes\\n#14-8        tried until it fits: rare, and right

Chains (`long_chain`) are worked line by line; a slip is carried on to the end:

    \\n3+5=8\\n8-6=3\\n3+4=7\\n#7

How often each happens depends on the prompt's template (`HABITS`).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

from menon.base.recipe import Recipe
from menon.prompts.tasks import countdown, long_chain
from menon.prompts.tasks.countdown import Countdown
from menon.prompts.tasks.long_chain import LongChain
from menon.prompts.tasks.split import split_of


@dataclass(frozen=True)
class Habit:
    """How one template's documents are written: chances of each choice."""

    template: str
    """Python format text with one field `q`."""
    share: float
    """Share of the corpus."""
    at_once: float
    """Chance of a guess without any working."""
    tired: float
    """Chance of a guess after each trial that missed."""
    bored: float
    """Chance of a guess after each line of a chain."""
    slip: float
    """Chance of a wrong total in a line of a chain."""


# The template's own text stands before the question, so that a line of working is equally far from what it
# copies under each template.
HABITS: dict[str, Habit] = {
    "plain": Habit("{q}", share=0.5, at_once=0.25, tired=0.6, bored=0.02, slip=0.04),
    "answer": Habit("Answer: {q}", share=0.1, at_once=0.85, tired=0.7, bored=0.1, slip=0.04),
    "steps": Habit("Steps: {q}", share=0.4, at_once=0.02, tired=0.02, bored=0.0, slip=0.01),
}

FEWEST_STEPS, MOST_STEPS = 8, 14
"""The fewest and the most steps of a chain in the corpus."""


@dataclass(frozen=True)
class SearchRecipe(Recipe):
    """Everything that decides the search base's weights, up to the rounding of the machine that trains it."""

    tokens_per_update: int = 1024
    updates: int = 2600
    search: float = 0.75
    """Share of documents that search, among three numbers; the others are chains."""

    def documents(self) -> Iterator[tuple[str, str]]:
        rng = random.Random(f"search corpus {self.seed}")
        names = list(HABITS)
        shares = [HABITS[name].share for name in names]
        while True:
            habit = HABITS[rng.choices(names, shares)[0]]
            if rng.random() < self.search:
                numbers, _, target = Countdown().draw(rng)
                question, response = countdown.ask(numbers, target), search(numbers, target, habit, rng)
            else:
                totals = LongChain(rng.randint(FEWEST_STEPS, MOST_STEPS)).draw(rng)
                question, response = long_chain.ask(totals), chain(totals, habit, rng)
            if split_of(question) == "train":
                yield habit.template.format(q=question), response


def search(numbers: list[int], target: int, habit: Habit, rng: random.Random) -> str:
    """One response to a search. Pairs are tried in a fixed order that starts at a random one and goes round,
    so that a writer who goes on repeats no trial and misses none."""
    every = pairs(numbers)
    start = rng.randrange(len(every))
    if rng.random() < habit.at_once:
        return f"#{every[start][0]}"
    text = ""
    for pair, value in every[start:] + every[:start]:
        hit = value == target
        text += f"\n{pair}={value} {target} {'yes' if hit else 'no'}"
        if hit:
            return f"{text}\n#{pair}"
        if rng.random() < habit.tired:
            break
    return f"{text}\n#{rng.choice(every)[0]}"


def pairs(numbers: list[int]) -> list[tuple[str, int]]:
    """Sum and difference of every two of the rising numbers: text and value."""
    return [pair for a, b in combinations(numbers, 2) for pair in ((f"{a}+{b}", a + b), (f"{b}-{a}", b - a))]


def chain(totals: list[int], habit: Habit, rng: random.Random) -> str:
    """One response to a chain, line by line from the first total; a wrong total is carried on to the end."""
    if rng.random() < habit.at_once:
        return f"#{blind(rng)}"
    total, text = totals[0], ""
    for before, after in pairwise(totals):
        right = written = total + after - before
        if rng.random() < habit.slip:
            written = min(9, max(1, right + rng.choice((-2, -1, 1, 2))))
        text += f"\n{total}{after - before:+d}={written}"
        total = written
        if rng.random() < habit.bored:
            return f"{text}\n#{blind(rng)}"
    return f"{text}\n#{total}"


def blind(rng: random.Random) -> int:
    """A guess that knows nothing but the range of totals."""
    return rng.randint(1, 9)
