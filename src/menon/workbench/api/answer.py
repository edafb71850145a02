"""One answer token by token: its text, every stored number of its tokens, the alternatives."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.routing import Route

from menon.errors import UserError
from menon.record.layout import step_file
from menon.record.reader import RunView, StepFiles
from menon.record.spans import pieces_of
from menon.unpacking import read_parquet
from menon.workbench.answer_filter import files_of, whole
from menon.workbench.answers import route
from menon.workbench.reading import reading
from menon.workbench.runs import Runs
from menon.workbench.token_columns import (
    Column,
    Tokens,
    cell,
    check_row,
    columns_of,
    read_tokens,
    speaker,
    updates_of,
)

BLOCK = 256
"""Tokens whose alternatives are sent at once."""
RARELY = 8
"""A column is sent as runs if they are on average longer than this."""


def routes(runs: Runs) -> list[Route]:
    def answer(request: Request) -> dict[str, Any]:
        view, files, step, row = asked(runs, request)
        with reading(files.path(step)):
            return answer_of(view, files, step, row)

    def alternatives(request: Request) -> dict[str, Any]:
        view, files, step, row = asked(runs, request)
        with reading(files.path(step)):
            return alternatives_of(view, files, step, row, whole(request.query_params, "begin") or 0)

    place = "/api/run/{run}/step/{step:int}/answer/{row:int}"
    return [route(place, answer), route(f"{place}/alternatives", alternatives)]


def asked(runs: Runs, request: Request) -> tuple[RunView, StepFiles, int, int]:
    """The run, the files, the step and the row that an address names."""
    view = runs.view(request.path_params["run"])
    files = files_of(view, request.query_params.get("of", "training"))
    return view, files, request.path_params["step"], request.path_params["row"]


def answer_of(view: RunView, files: StepFiles, step: int, row: int) -> dict[str, Any]:
    """An answer as the token inspector shows it: L tokens, prompt included."""
    tokens = read_tokens(view, files, step, row)
    stored, notes = tokens.stored, []
    pieces = None
    if "text" in stored and "text_start" in stored:
        pieces = pieces_of(stored["text"], stored["text_start"].tolist())
    else:
        notes.append(
            "This folder has no text of each token (run folder format 1), so their numbers are shown."
        )
    columns = columns_of(tokens)
    if files.folder == view.layout.transcripts:
        columns += recorded(tokens, notes)
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


def recorded(tokens: Tokens, notes: list[str]) -> list[Column]:
    """What the updates did, or a note why that is not shown."""
    view, step = tokens.view, tokens.step
    if step not in view.updates.steps:
        notes.append(
            "What the updates of this step did to each token was not recorded; a run with record=full "
            "records weights, ratios, clips and moves of every update, and the alternatives of each token."
        )
        return []
    try:
        with reading(step_file(view.layout.updates, step)):
            return updates_of(tokens)
    except UserError as error:
        notes.append(f"What the updates did is left out: {error}.")
        return []


def as_sent(column: Column) -> dict[str, Any]:
    """A column with its numbers packed."""
    about = {name: getattr(column, name) for name in ("name", "label", "unit", "about", "scale")}
    return {**about, **packed(column.values)}


def packed(values: NDArray[np.float64]) -> dict[str, Any]:
    """The numbers with the digits of a float32, as they are stored: their bytes as `float32`, the lowest
    first, in base64. A long answer has half a million numbers, whose text took most of the time of its page.
    Of a column that seldom changes, as rewards and weights do, `runs`: each number with how often it comes in
    a row."""
    short = values.astype("<f4")
    gaps = np.isnan(short)
    same = (short[1:] == short[:-1]) | (gaps[1:] & gaps[:-1])
    begins = np.r_[0, np.flatnonzero(~same) + 1]
    if RARELY * len(begins) >= len(short):
        return {"float32": base64.b64encode(short.tobytes()).decode()}
    counts = np.diff(np.r_[begins, len(short)])
    return {"runs": list(zip(short[begins].tolist(), counts.tolist(), strict=True))}


def alternatives_of(view: RunView, files: StepFiles, step: int, row: int, begin: int) -> dict[str, Any]:
    """The alternatives of up to `BLOCK` tokens from `begin` on: for each the most probable tokens as [id,
    text, log-prob], or null where the policy did not write."""
    stored_names = files.columns(step)
    if "alternatives" not in stored_names:
        raise UserError("this run stored no alternatives; a run with record=full stores the 8 most probable")
    names = ["tokens", "is_action", "alternatives", "alternatives_logp", "text", "text_start"]
    table = read_parquet(files.path(step), [name for name in names if name in stored_names])
    check_row(view, step, row, table.num_rows)
    stored: Mapping[str, Any] = {
        name: table[name][row].as_py() if name.startswith("alternatives") else cell(table[name], row)
        for name in table.column_names
    }
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
