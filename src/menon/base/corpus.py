"""What the built-in base model learnt from: generated sums, solved in several styles in one mixture.

The corpus gives the base a skill and a bad habit, so that reinforcement learning has something to draw out.
Every response is a random walk: at each line the writer goes on working or gives up and guesses. The more
terms are left, the worse the guess.

    #31                                              guessed at once: common, nearly always wrong
    \\n3+8=11\\n#29                                    one line, then a guess: the commonest
    \\n3+8=11\\n11+5=16\\n16+9=25\\n#25                   worked through: rarer, right unless a line slipped
    \\n3+8=11 ok\\n11+5=17 wait, 16\\n16+9=25 ok\\n#25    each line checked: rare, slips are put right

How often each happens depends on the prompt's template (`HABITS`).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from menon.base.recipe import Recipe
from menon.prompts.tasks.chain_sum import ChainSum, ask
from menon.prompts.tasks.split import split_of


@dataclass(frozen=True)
class Habit:
    """How one template's documents are written: chances of each choice."""

    template: str
    """Python format text with one field `q`."""
    share: float
    """Share of the corpus."""
    give_up: tuple[float, float, float]
    """Chance of a guess in place of the first line, of the second, and of each later one; checked documents
    go on."""
    check: float
    """Chance that a document with a first line checks each of its lines."""
    slip: float = 0.07
    """Chance of a wrong total in an unchecked line."""
    checked_slip: float = 0.15
    """Chance of a wrong total in a line that is then checked; the check finds nearly all."""


# The habit of the plain template starts to work and gives up early: the likeliest walk is one line and a
# guess. So greedy text is as poor as sampled text, and RL has to change choices all over the response, not
# one choice at its first token.
HABITS: dict[str, Habit] = {
    "plain": Habit("{q}", share=0.7, give_up=(0.25, 0.6, 0.12), check=0.2),
    "answer": Habit("Q: {q}\nA:", share=0.15, give_up=(0.85, 0.6, 0.3), check=0.1),
    "steps": Habit("{q}\nSteps:", share=0.15, give_up=(0.02, 0.02, 0.02), check=0.3, slip=0.04),
}

MISSED = 0.02
"""Chance that a check lets a slip pass."""
SHORT, OVER = 3, 1
"""For each term that was left, a guess is up to 3 too low or up to 1 too high, all errors equally likely. So
there is no best guess to learn, and a blurred idea of the range has its middle below the truth: the likeliest
guess is wrong as well."""


@dataclass(frozen=True)
class PretrainRecipe(Recipe):
    """Everything that decides the base model's weights, up to the rounding of the machine that trains it."""

    task: ChainSum = field(default_factory=lambda: ChainSum(min_terms=2, max_terms=7))
    """Wider than the default task, so that neither its shortest nor its longest sums are at the edge of the
    corpus."""

    def documents(self) -> Iterator[tuple[str, str]]:
        rng = random.Random(f"corpus {self.seed}")
        names = list(HABITS)
        shares = [HABITS[name].share for name in names]
        while True:
            terms = self.task.draw(rng)
            question = ask(terms)
            if split_of(question) == "train":
                habit = HABITS[rng.choices(names, shares)[0]]
                yield habit.template.format(q=question), respond(terms, habit, rng)


def respond(terms: list[int], habit: Habit, rng: random.Random) -> str:
    """One response in a style drawn from the habit."""
    first, second, later = habit.give_up
    if rng.random() < first:
        return f"#{guess(0, terms, rng)}"
    checked = rng.random() < habit.check
    total, text = terms[0], ""
    for done in range(1, len(terms)):
        tired = (0.0, second, later)[min(done, 3) - 1]
        if not checked and rng.random() < tired:
            return f"{text}\n#{guess(total, terms[done:], rng)}"
        line, total = work(total, terms[done], checked, habit, rng)
        text += line
    return f"{text}\n#{total}"


def guess(total: int, left: list[int], rng: random.Random) -> int:
    """The true sum with an error that grows with the number of terms still left."""
    return max(1, total + sum(left) + rng.randint(-SHORT * len(left), OVER * len(left)))


def work(total: int, term: int, checked: bool, habit: Habit, rng: random.Random) -> tuple[str, int]:
    """One line of working and the total it leads to."""
    right = total + term
    written = right
    if rng.random() < (habit.checked_slip if checked else habit.slip):
        written = max(1, right + rng.choice((-10, -2, -1, 1, 2, 10)))
    line = f"\n{total}+{term}={written}"
    if not checked:
        return line, written
    if written == right or rng.random() < MISSED:
        return f"{line} ok", written
    return f"{line} wait, {right}", right
