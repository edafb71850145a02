"""TRL: `completions/completions_STEP.parquet` in the output folder of GRPO and its relatives
(`log_completions=True`)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from menon.unpacking import read_parquet
from menon.workbench.peers.peer import NAN, Answer, Peer, grouped, number_of, numbered, numbers_in, text_of

NAME = re.compile(r"completions_(\d+)\.parquet")
KNOWN = {"step", "prompt", "completion", "advantage", "images"}
MISSING = (
    "tokens and everything about them",
    "the right answers",
    "why an answer ended",
    "the weights of the rewards, and which numbers are rewards and which were only logged (the score is the "
    "sum of all)",
)


def named(folder: Path) -> str | None:
    return "TRL" if files_in(folder) else None


def files_in(folder: Path) -> dict[int, Path]:
    inside = folder / "completions" if (folder / "completions").is_dir() else folder
    return numbered(
        list(inside.glob("completions_*.parquet")),
        lambda file: int(match[1]) if (match := NAME.fullmatch(file.name)) else None,
    )


def read(folder: Path) -> Peer | None:
    files = files_in(folder)
    if not files:
        return None

    def answers(step: int) -> list[Answer]:
        rows = read_parquet(files[step]).to_pylist()
        places = grouped([text_of(row["prompt"]) for row in rows])
        return [answer(row, *place) for row, place in zip(rows, places, strict=True)]

    return Peer("TRL", MISSING, list(files), answers)


def answer(row: Mapping[str, Any], group: int, sample: int) -> Answer:
    """The columns beside TRL's own are the rewards, and what reward functions have logged; those that are
    numbers become parts."""
    parts = numbers_in({name: value for name, value in row.items() if name not in KNOWN})
    rewards = [value for value in parts.values() if value == value]
    return Answer(
        prompt=text_of(row["prompt"]),
        completion=text_of(row["completion"]),
        group=group,
        sample=sample,
        score=sum(rewards) if rewards else NAN,
        parts=parts,
        advantage=number_of(row.get("advantage")),
    )
