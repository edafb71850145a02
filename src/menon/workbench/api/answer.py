"""One answer token by token: its text, every stored number of its tokens, the alternatives."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from starlette.requests import Request
from starlette.routing import Route

from menon.errors import UserError
from menon.record.reader import RunView, StepFiles
from menon.record.spans import pieces_of
from menon.unpacking import read_parquet
from menon.workbench.answer_filter import files_of, whole
from menon.workbench.answers import route
from menon.workbench.runs import Runs
from menon.workbench.token_columns import Tokens, cell, columns_of, read_tokens, speaker

BLOCK = 256
"""Tokens whose alternatives are sent at once."""
DIGITS = 7
"""Digits of a number; those of a float32."""


def routes(runs: Runs) -> list[Route]:
    def answer(request: Request) -> dict[str, Any]:
        view, files, step, row = asked(runs, request)
        return answer_of(view, files, step, row)

    def alternatives(request: Request) -> dict[str, Any]:
        view, files, step, row = asked(runs, request)
        return alternatives_of(view, files, step, row, whole(request.query_params, "begin") or 0)

    place = "/api/run/{run}/step/{step:int}/answer/{row:int}"
    return [route(place, answer), route(f"{place}/alternatives", alternatives)]


def asked(runs: Runs, request: Request) -> tuple[RunView, StepFiles, int, int]:
    """The run, the files, the step and the row that an address names."""
    view = runs.view(request.path_params["run"])
    files = files_of(view, request.query_params.get("of", "training"))
    return view, files, request.path_params["step"], request.path_params["row"]


def read(view: RunView, files: StepFiles, step: int, row: int) -> Tokens:
    """`read_tokens`. UserError for a file that cannot be read, and a row that is not there."""
    try:
        return read_tokens(view, files, step, row)
    except IndexError as error:
        raise UserError(f"step {step} of {view.name} has {error} answers, and no answer {row}") from None
    except (OSError, ValueError) as error:  # pyarrow's own are these
        raise UserError(unreadable(files.path(step), error)) from None


def unreadable(path: Path, error: Exception) -> str:
    return f"{path.parent.name}/{path.name} cannot be read ({str(error).splitlines()[0][:200]})"


def answer_of(view: RunView, files: StepFiles, step: int, row: int) -> dict[str, Any]:
    """An answer as the token inspector shows it: L tokens, prompt included."""
    tokens = read(view, files, step, row)
    stored, notes = tokens.stored, []
    pieces = None
    if "text" in stored and "text_start" in stored:
        pieces = pieces_of(stored["text"], stored["text_start"].tolist())
    else:
        notes.append(
            "This folder has no text of each token (run folder format 1), so their numbers are shown."
        )
    columns = []
    try:
        columns = columns_of(tokens)
    except (UserError, OSError, ValueError) as error:
        notes.append(f"The record of the updates cannot be read: {str(error).splitlines()[0]}")
        columns = columns_of(Tokens(stored, view, -1, row))
    if files.folder == view.layout.transcripts and step not in view.updates.steps:
        notes.append(
            "What the updates of this step did to each token was not recorded; a run with record=full "
            "records weights, ratios, clips and moves of every update, and the alternatives of each token."
        )
    one = {name: value for name, value in stored.items() if not isinstance(value, np.ndarray)}
    return {
        **one,
        "row": row,
        "rows": pq.read_metadata(files.path(step)).num_rows,
        "begin": tokens.begin,
        "pieces": pieces,
        "tokens": stored["tokens"],
        "is_action": tokens.is_action.astype(int),
        "columns": [as_sent(column) for column in columns],
        "alternatives": "alternatives" in files.columns(step),
        "block": BLOCK,
        "notes": notes,
    }


def as_sent(column: Any) -> dict[str, Any]:
    """A column with as many digits as its numbers have."""
    values = [
        float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in column.values.tolist()
    ]
    about = {name: getattr(column, name) for name in ("name", "label", "unit", "about", "scale")}
    return {**about, "values": values}


def alternatives_of(view: RunView, files: StepFiles, step: int, row: int, begin: int) -> dict[str, Any]:
    """The alternatives of up to `BLOCK` tokens from `begin` on: for each the most probable tokens as [id,
    text, log-prob], or null where the policy did not write."""
    path = files.path(step)
    if "alternatives" not in files.columns(step):
        raise UserError("this run stored no alternatives; a run with record=full stores the 8 most probable")
    try:
        names = ["tokens", "is_action", "alternatives", "alternatives_logp", "text", "text_start"]
        table = read_parquet(path, [name for name in names if name in files.columns(step)])
        if row >= table.num_rows:
            raise UserError(f"step {step} of {view.name} has {table.num_rows} answers, and no answer {row}")
        stored: Mapping[str, Any] = {
            name: table[name][row].as_py() if name.startswith("alternatives") else cell(table[name], row)
            for name in table.column_names
        }
    except (OSError, ValueError) as error:
        raise UserError(unreadable(path, error)) from None
    pieces = dict(
        zip(stored["tokens"].tolist(), pieces_of(stored["text"], stored["text_start"].tolist()), strict=True)
    )
    say, acts = speaker(view, pieces), stored["is_action"]
    place = np.cumsum(acts) - 1
    given, logps = stored["alternatives"] or [], stored["alternatives_logp"] or []
    return {
        "begin": begin,
        "tokens": [
            [[token, say(token), logp] for token, logp in zip(given[place[t]], logps[place[t]], strict=True)]
            if acts[t] and place[t] < len(given)
            else None
            for t in range(max(begin, 0), min(begin + BLOCK, len(acts)))
        ],
    }
