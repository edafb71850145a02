"""Search by trying and checking: which of these numbers make the target?

The question gives numbers in rising order and a target, `3,8,14,17>6=?`; the answer is an expression that
makes it. Nothing tells which pair to try, so answers that try pairs until one fits are right, and guesses
rarely are. Any expression that follows the rules is right; the row's `answer` is one of them. A response
states its expression after a hash mark at the end, as in `chain_sum`, or in `<answer>` tags:

    3,8,14,17>6=?#14-8                              a guess
    3,8,14,17>6=?\\n8-3=5\\n17-14=3\\n14-8=6\\n#14-8     three trials, the last one hits
"""

import ast
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import combinations, product
from math import comb
from operator import add, mul, sub, truediv
from typing import Any, Literal

from menon.prompts.tasks.chain_sum import shows_line
from menon.prompts.tasks.split import draw_rows, level_of, share_of
from menon.thought import after_thinking

LONGEST = 100
"""Most characters of an expression that is evaluated; right expressions are much shorter."""

_QUESTION = re.compile(r"([0-9]+(?:,[0-9]+)+)>([0-9]+)=\?")
_RETRY = re.compile(r"^[^#=\n]+=[^#\n]*\n[^#=\n]+=", re.MULTILINE)
_ANSWER = re.compile(r"(?:#([0-9+\-*/() ]+)|<answer>([0-9+\-*/() ]+)</answer>)\s*\Z")


@dataclass(frozen=True)
class Level:
    numbers: int
    """How many numbers are given."""
    used: int
    """How many of them the expression uses, each once."""
    operators: str
    largest: int
    """The largest of the given numbers."""

    @property
    def highest(self) -> int:
        """The largest target."""
        return 2 * self.largest


LEVELS = (
    Level(3, 2, "+-", 19),
    Level(4, 2, "+-", 19),
    Level(4, 3, "+-", 19),
    Level(3, 3, "+-*/", 99),
    Level(4, 4, "+-*/", 99),
)


@dataclass(frozen=True)
class Countdown:
    """Different numbers from 1 up, a target that can be made of them, and an exact verifier.

    | difficulty | given | used | operators | numbers up to |
    |---|---|---|---|---|
    | 1 | 3 | any 2 | + - | 19 |
    | 2 | 4 | any 2 | + - | 19 |
    | 3 | 4 | any 3 | + - | 19 |
    | 4 | 3 | all | + - * / | 99 |
    | 5 | 4 | all | + - * / | 99 |

    Difficulties 4 and 5 are the game as TinyZero plays it. The numbers stand in rising order, so that a
    question has one spelling and no other order of it can be in the other split. A pair has one sum and one
    positive difference: at most 6 trials at difficulty 1 and 12 at difficulty 2.

    >>> Countdown().rows("train", 1, seed=0)
    [{'question': '4,7,11>7=?', 'answer': '11-4', 'nums': [4, 7, 11], 'target': 7}]
    """

    difficulty: int = 1
    """1 to 5. The built-in search base has only seen 1; the 12 trials of 2 need more room than a run's
    default of 96 tokens."""
    kind: Literal["countdown"] = "countdown"

    def __post_init__(self) -> None:
        level_of(LEVELS, self.difficulty, "countdown")

    @property
    def level(self) -> Level:
        return LEVELS[self.difficulty - 1]

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """`n` different questions of one split, the same for the same arguments."""
        return draw_rows(self, split, n, self.room(split), self._row, f"countdown {self.difficulty} {seed}")

    def _row(self, rng: random.Random) -> dict[str, Any]:
        numbers, expression, target = self.draw(rng)
        return {"question": ask(numbers, target), "answer": expression, "nums": numbers, "target": target}

    def draw(self, rng: random.Random) -> tuple[list[int], str, int]:
        """Numbers in rising order, one right expression and the target, from either split."""
        level = self.level
        numbers = sorted(rng.sample(range(1, level.largest + 1), level.numbers))
        while True:
            expression, target = combine(rng.sample(numbers, level.used), level, rng)
            if target <= level.highest:
                return numbers, expression, target

    def room(self, split: str) -> int:
        """How many different rows `rows` gives for a split."""
        return room_of(self.level, split)

    def stated(self, completion: str) -> str | None:
        """The expression that a completion states, for votes, without spaces; None where it states none."""
        return (extract(completion) or "").replace(" ", "") or None

    def works(self, completion: str) -> bool:
        """Whether an answer shows working: at least one line with a trial, `8-3=`."""
        return shows_line(completion)

    def reflects(self, completion: str) -> bool:
        """Whether an answer goes on after a trial that missed: a line with a trial follows another."""
        return bool(_RETRY.search(completion))

    def grade(
        self, prompt: str, completion: str, answer: str, question: str = "", **columns: object
    ) -> float:
        """1.0 if the completion ends with an expression that makes the target of the right number of the
        given numbers, each at most once, with this difficulty's operators; else 0.0.

        The question is read from the row (`question`) or, without one, from the prompt. Arithmetic is exact:
        intermediate results may be fractions. Text is untrusted: a malformed answer is wrong, and nothing
        raises.
        """
        asked = _QUESTION.search(question or prompt)
        expression = extract(after_thinking(prompt, completion) or "")
        if asked is None or expression is None:
            return 0.0
        made = value_of_expression(expression, self.level.operators)
        if made is None:
            return 0.0
        value, used = made
        given = Counter(map(int, asked.group(1).split(",")))
        return float(value == int(asked.group(2)) and sum(used.values()) == self.level.used and used <= given)


def ask(numbers: list[int], target: int) -> str:
    """The text of a question, which is also a whole prompt: no template is needed."""
    return f"{','.join(map(str, numbers))}>{target}=?"


def extract(completion: str) -> str | None:
    """The expression that the text ends with, after `#` or in `<answer>` tags, or None."""
    found = _ANSWER.search(completion.rstrip()[-LONGEST - 40 :])
    return (found.group(1) or found.group(2)).strip() if found else None


@cache
def room_of(level: Level, split: str) -> int:
    total = comb(
        level.largest, level.numbers
    )  # at least this many, because every set of numbers has a target
    return share_of(split, total, partial(every_sum, level) if level.operators == "+-" else None)


def every_sum(level: Level) -> Iterator[str]:
    """Every question of a level without multiplication and division."""
    signs = list(product((1, -1), repeat=level.used))
    targets = range(1, level.highest + 1)
    for numbers in combinations(range(1, level.largest + 1), level.numbers):
        sums = {sum(map(mul, some, sign)) for some in combinations(numbers, level.used) for sign in signs}
        yield from (ask(list(numbers), target) for target in sums if target in targets)


def combine(numbers: list[int], level: Level, rng: random.Random) -> tuple[str, int]:
    """An expression of all the numbers, and its value. The value and all intermediate results are positive
    integers."""
    parts = [(str(number), number) for number in numbers]
    while len(parts) > 1:
        (left, a), (right, b) = sorted(rng.sample(parts, 2), key=lambda part: -part[1])
        sign = rng.choice(level.operators)
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[sign]
        if value < 1 or value > 10 * level.largest or (sign == "/" and a % b):
            continue
        text = f"{left}{sign}{right}"
        parts = [part for part in parts if part not in ((left, a), (right, b))] + [(f"({text})", value)]
    text, value = parts[0]
    return text[1:-1], value


Made = tuple[Fraction, Counter[int]]
OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: ("+", add),
    ast.Sub: ("-", sub),
    ast.Mult: ("*", mul),
    ast.Div: ("/", truediv),
}


def value_of_expression(expression: str, operators: str) -> Made | None:
    """The exact value of an expression and the numbers in it; None where it is malformed, uses another
    operator, or divides by zero. Signs in front of a number and `**` and `//` are none of the four
    operators."""
    if len(expression) > LONGEST:
        return None
    try:
        return _evaluate(ast.parse(expression, mode="eval").body, operators)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluate(node: ast.expr, operators: str) -> Made:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Fraction(node.value), Counter([node.value])
    if not isinstance(node, ast.BinOp) or type(node.op) not in OPERATORS:
        raise ValueError
    sign, apply = OPERATORS[type(node.op)]
    if sign not in operators:
        raise ValueError
    left, right = _evaluate(node.left, operators), _evaluate(node.right, operators)
    return apply(left[0], right[0]), left[1] + right[1]
