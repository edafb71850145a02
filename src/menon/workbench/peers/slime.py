"""slime and Miles: `rollout_data/N.pt` (`save_debug_rollout_data`), and Miles' `dashboard_columns/*.parquet`.

A `.pt` file is a pickle. It is read with `weights_only=True`, which makes plain data, tensors and arrays and
runs no code; a file that holds anything else is refused.
"""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.unpacking import read_parquet
from menon.workbench.peers.peer import NAN, Answer, Peer, grouped, number_of, numbered, numbers_in, text_of

PT = re.compile(r"(?:.*\D)?(\d+)\.pt")
PARQUET = re.compile(r"rollout_(\d+)\.parquet")
FINISH = {"completed": "stop", "truncated": "length", "aborted": "abort", "failed": "abort"}
MISSING = ("advantages, entropies and the learner's log-probs", "metrics (they are with the run's tracker)")
COLUMNS_ALONE = ("texts (name the model with tokenizer=)", "scores", "which answers belong to one question")


BEGINNING = 4096
"""Bytes of a pickle in which a dump has named its samples."""


def named(folder: Path) -> str | None:
    """Without loading a pickle, which may be large and needs torch: the names of a dump's entries stand at
    its beginning."""
    files = list(files_in(folder).values())
    if columns_of(folder):
        return "Miles"
    return "slime" if files and b"samples" in beginning(files[0]) else None


def beginning(file: Path) -> bytes:
    """The first bytes of the pickle in a file of torch's; b"" where there is none."""
    try:
        with zipfile.ZipFile(file) as inside:
            name = next((one for one in inside.namelist() if one.endswith("data.pkl")), None)
            if name is None:
                return b""
            with inside.open(name) as pickled:
                return pickled.read(BEGINNING)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return b""


def files_in(folder: Path) -> dict[int, Path]:
    inside = folder / "rollout_data" if (folder / "rollout_data").is_dir() else folder
    return numbered(
        [file for file in inside.glob("*.pt") if not file.name.startswith("eval_")],
        lambda file: int(match[1]) if (match := PT.fullmatch(file.name)) else None,
    )


def read(folder: Path) -> Peer | None:
    files, columns = files_in(folder), columns_of(folder)
    if files and holds_samples(next(iter(files.values()))):
        kind = "Miles" if columns else "slime"
        return Peer(kind, MISSING, list(files), lambda step: answers(samples(files[step])))
    if not columns:
        return None

    def of_columns(step: int) -> list[Answer]:
        return answers(
            [{**row, "index": row["sample_index"]} for row in read_parquet(columns[step]).to_pylist()]
        )

    return Peer("Miles", (*COLUMNS_ALONE, *MISSING), list(columns), of_columns)


def columns_of(folder: Path) -> dict[int, Path]:
    inside = folder if folder.name == "dashboard_columns" else folder / "dashboard_columns"
    return numbered(
        list(inside.glob("rollout_*.parquet")),
        lambda file: int(match[1]) if (match := PARQUET.fullmatch(file.name)) else None,
    )


def load(file: Path) -> Any:
    """What a file holds, without running anything. UserError: more than plain data."""
    import numpy as np
    import torch

    rebuild = np.zeros(0).__reduce__()[0]  # what a pickled array is made by
    kinds = [type(np.dtype(name)) for name in ("uint8", "int32", "int64", "float32", "float64", "bool")]
    arrays: list[Any] = [np.ndarray, np.dtype, rebuild, *kinds]
    try:
        with torch.serialization.safe_globals(arrays):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        why = str(error).splitlines()[0][:120]
        raise UserError(f"{file} is no dump of plain data ({why}); menon runs no code of a dump") from None


def holds_samples(file: Path) -> bool:
    found = load(file)
    return isinstance(found, dict) and isinstance(found.get("samples"), list)


def samples(file: Path) -> list[dict[str, Any]]:
    found = load(file)
    if not isinstance(found, dict) or not isinstance(found.get("samples"), list):
        raise UserError(f"{file} has no samples; name the folder of slime's or Miles' rollout dumps")
    return found["samples"]


def answers(rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    names = [
        place if row.get("group_index") is None else ("group", row["group_index"])
        for place, row in enumerate(rows)
    ]
    return [answer(row, *place) for row, place in zip(rows, grouped(names), strict=True)]


def answer(row: Mapping[str, Any], group: int, sample: int) -> Answer:
    reward = row.get("reward")
    scores = numbers_in(reward) if isinstance(reward, dict) else {}
    return Answer(
        prompt=text_of(row.get("prompt")),
        completion=str(row.get("response") or ""),
        group=group,
        sample=sample,
        score=scores.get("score", next(iter(scores.values()), NAN)) if scores else number_of(reward),
        gold=None if row.get("label") is None else str(row["label"]),
        finish=FINISH.get(str(row.get("status"))),
        parts=scores,
        tokens=tokens_of(row),
    )


def tokens_of(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns of the whole sequence: masks and log-probs are stored for the response alone."""
    tokens, length = listed(row.get("tokens")), int(row.get("response_length") or 0)
    if not tokens or length > len(tokens):
        return {}
    before = len(tokens) - length
    mask = listed(row.get("loss_mask")) or [1] * length
    columns: dict[str, list[Any]] = {
        "tokens": tokens,
        "is_action": [False] * before + [bool(one) for one in mask[-length:]] if length else [False] * before,
    }
    for column, name in (("behaviour_logp", "rollout_log_probs"), ("teacher_logp", "teacher_log_probs")):
        values = listed(row.get(name))
        if values and len(values) == length:
            columns[column] = [0.0] * before + values
    return columns


def listed(values: Any) -> list[Any]:
    return [] if values is None else list(values.tolist() if hasattr(values, "tolist") else values)
