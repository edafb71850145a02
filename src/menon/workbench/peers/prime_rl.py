"""prime-rl: `token_exports/step_N/rank_R.jsonl` (`TokenExporter`, `trainer.enable_token_export`)."""

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from menon.workbench.peers.peer import NAN, Answer, Peer, first_line, lines_in, numbered

STEP = re.compile(r"step_(\d+)")
COLUMNS = {
    "behaviour_logp": "inference_logprobs",
    "old_logp": "trainer_logprobs",
    "entropy": "entropy",
    "advantage": "advantages",
    "reward": "rewards",
}
MISSING = (
    "texts (name the model with tokenizer=)",
    "the questions' right answers, and which answers belong to one question (those that "
    "begin with the same tokens are taken as one group)",
    "scores, where there is no column of rewards",
    "why an answer ended",
)


def named(folder: Path) -> str | None:
    first = next(iter(files_in(folder).values()), None)
    return "prime-rl" if first and "token_ids" in first_line(first[0]) else None


def files_in(folder: Path) -> dict[int, list[Path]]:
    """Step -> the file of each rank."""
    inside = folder if folder.name == "token_exports" else folder / "token_exports"
    if not inside.is_dir():
        return {}
    steps = numbered(
        [path for path in inside.iterdir() if path.is_dir()],
        lambda path: int(match[1]) if (match := STEP.fullmatch(path.name)) else None,
    )
    files = {step: sorted(path.glob("rank*.jsonl")) for step, path in steps.items()}
    return {step: found for step, found in files.items() if found}


def read(folder: Path) -> Peer | None:
    if named(folder) is None:
        return None
    files = files_in(folder)
    faults: list[str] = []

    def answers(step: int) -> list[Answer]:
        rows = [row for file in files[step] for row in lines_in(file, faults)]
        # Packing has torn groups apart; rows with the same prompt go together again.
        rows.sort(key=prompt_of)
        found = []
        for group, (_, same) in enumerate(groupby(rows, key=prompt_of)):
            found += [answer(row, group, sample) for sample, row in enumerate(same)]
        return found

    return Peer("prime-rl", MISSING, list(files), answers, faults=faults)


def prompt_of(row: Mapping[str, Any]) -> list[int]:
    """The tokens before the first that the policy wrote."""
    mask = row["loss_mask"]
    return list(row["token_ids"][: mask.index(True) if True in mask else len(mask)])


def answer(row: Mapping[str, Any], group: int, sample: int) -> Answer:
    columns: dict[str, list[Any]] = {"tokens": row["token_ids"], "is_action": row["loss_mask"]}
    for column, name in COLUMNS.items():
        values = row.get(name)
        if values is not None and any(value is not None for value in values):
            columns[column] = [NAN if value is None else value for value in values]
    # The reward of an answer stands on all of its tokens there, and on the last one in a transcript.
    given = [value for value in columns.pop("reward", []) if value == value]
    return Answer(group=group, sample=sample, score=given[-1] if given else NAN, tokens=columns)
