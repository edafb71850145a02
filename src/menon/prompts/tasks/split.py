"""What every built-in task shares: two splits that cannot overlap, and different rows drawn from one of
them."""

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from menon.errors import UserError

SPLITS = ("train", "heldout")
HELD_OUT_PERCENT = 10
COUNTABLE = 1 << 18  # a split of at most this many questions is counted one by one

Row = dict[str, Any]
"""`question`, `answer` and the other columns that the task's verifier or a template reads."""


def split_of(question: str) -> str:
    """The split that a question belongs to, by a hash of its text. So no lists have to be kept, and splits
    cannot overlap."""
    digest = hashlib.blake2b(question.encode(), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") % 100 < HELD_OUT_PERCENT else "train"


def share_of(split: str, total: int, every: Callable[[], Iterator[str]] | None = None) -> int:
    """How many different rows a split of `total` questions gives: all of them where they can be counted, else
    about half.

    It is half because drawing the last few rows of a large set at random would take too long. `every` lists
    the questions.
    """
    if split not in SPLITS:
        raise UserError(f"The split is one of {', '.join(SPLITS)}, not {split!r}.")
    if every is not None and total <= COUNTABLE:
        return sum(split_of(question) == split for question in every())
    percent = HELD_OUT_PERCENT if split == "heldout" else 100 - HELD_OUT_PERCENT
    return total * percent // 200


def draw_rows(
    task: object, split: str, n: int, room: int, draw: Callable[[random.Random], Row], seed: str
) -> list[Row]:
    """`n` different rows of one split, in the order in which `draw` gives them; `seed` names the task too."""
    if not 0 <= n <= room:
        raise UserError(f"{task} can give 0 to {room} different {split!r} rows, not {n}.")
    rng = random.Random(seed)
    rows: dict[str, Row] = {}
    while len(rows) < n:
        row = draw(rng)
        question = row["question"]
        if question not in rows and split_of(question) == split:
            rows[question] = row
    return list(rows.values())


def level_of(levels: tuple[Any, ...], difficulty: int, task: str) -> Any:
    """The settings of a difficulty, counted from 1."""
    if not 1 <= difficulty <= len(levels):
        raise UserError(f"{task} has difficulties 1 to {len(levels)}, not {difficulty}.")
    return levels[difficulty - 1]
