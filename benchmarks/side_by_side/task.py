"""The questions and the reward of both sides of a step. Standard library only."""

import json
from pathlib import Path
from typing import Any


def digits(text: str) -> float:
    """The share of digits in an answer. Answers cut at settled lengths are hardly ever right, and a reward
    that is equal throughout a group would leave nothing to learn; this one differs within every group."""
    return sum(character.isdigit() for character in text) / max(len(text), 1)


def write_questions(rows: list[dict[str, str]], path: Path) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read_questions(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]
