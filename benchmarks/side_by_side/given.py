"""The rows of both sides of a step on given text."""

import json
import random
from dataclasses import replace
from pathlib import Path

from menon.base.corpus import HABITS, respond
from menon.prompts.tasks.chain_sum import ask

TERMS = (4, 6)
"""Fewest and most terms of a sum."""


def write_rows(path: Path, count: int, characters: int, pairs: bool) -> str:
    """`count` rows: a sum and its worked answer, or for pairs that and the worked answer to another sum.
    Answers have at least `characters` characters: where one is shorter, more worked sums follow. The rows are
    the same each time; the path."""
    rng = random.Random(0)
    rows = []
    for _ in range(count):
        terms = drawn(rng)
        prompt, answer = ask(terms), worked(terms, characters, rng)
        other = worked(drawn(rng), characters, rng)
        given = {"chosen": answer, "rejected": other} if pairs else {"completion": answer}
        rows.append({"prompt": prompt, **given})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def drawn(rng: random.Random) -> list[int]:
    return [rng.randint(1, 9) for _ in range(rng.randint(*TERMS))]


def worked(terms: list[int], characters: int, rng: random.Random) -> str:
    """Every line of the working checked."""
    habit = replace(HABITS["plain"], give_up=(0.0, 0.0, 0.0), check=1.0)
    text = respond(terms, habit, rng)
    while len(text) < characters:
        more = drawn(rng)
        text += f"\n{ask(more)}{respond(more, habit, rng)}"
    return text
