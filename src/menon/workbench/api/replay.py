"""A stored step under another recipe or part, for the page. No code of anybody's is loaded here."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.routing import Route

from menon.assembly.trust import REFERENCE
from menon.cli.catalogue import STAGES
from menon.docstrings import first_sentence
from menon.errors import UserError
from menon.record.reader import RunView
from menon.workbench.answers import route
from menon.workbench.runs import Runs

if TYPE_CHECKING:
    from menon.study.replay import Replay

PLACES = {
    "loss": "objective.policy.loss",
    "select": "objective.policy.select",
    "share": "objective.policy.share",
    "advantage": "advantage.credit",
}
"""Stage -> the setting that the page offers for it."""
OTHER = ("recipe", "row", "token")
"""What a question may say besides settings."""
LARGEST = 20
"""Tokens of the step that are listed as differing most."""
LONGEST = 300
"""Characters of a setting's value."""
_one_at_a_time = Lock()


def routes(runs: Runs) -> list[Route]:
    def choices(request: Request) -> dict[str, Any]:
        from menon.recipes import ONLINE

        kinds = {
            PLACES[stage.name]: {part.kind: first_sentence(part.text) for part in stage.parts}
            for stage in STAGES
            if stage.name in PLACES
        }
        return {"recipes": ONLINE, "parts": kinds}

    def replay(request: Request) -> dict[str, Any]:
        view = runs.view(request.path_params["run"])
        step = request.path_params["step"]
        asked = dict(request.query_params)
        changes = tuple((name, value) for name, value in asked.items() if name not in OTHER)
        with _one_at_a_time:
            made = replayed(view.path, stamp(view, step), step, asked.get("recipe") or None, changes)
        row = asked.get("row")
        return {
            "changes": made.changes(),
            "notes": made.notes,
            "summary": made.summary(),
            "largest": made.largest(LARGEST),
            **({"answer": one_answer(made, row)} if row is not None else {}),
        }

    return [
        route("/api/replay/choices", choices),
        route("/api/run/{run}/step/{step:int}/replay", replay),
    ]


def stamp(view: RunView, step: int) -> tuple[int, ...]:
    """When the files of a step were written; it tells a step from the one of that number before a resume."""
    files = [view.transcripts.path(step)]
    files += [view.updates.path(step)] if step in view.updates.steps else []
    return tuple(file.stat().st_mtime_ns for file in files)


@lru_cache(maxsize=2)
def replayed(
    path: Path, written: tuple[int, ...], step: int, recipe: str | None, words: tuple[tuple[str, str], ...]
) -> "Replay":
    """The replay of a step; the last two are kept, for the other answers of the step. UserError for a setting
    that names code."""
    import torch

    from menon.settings import override
    from menon.study.replay import replayed as made
    from menon.study.replay_config import Algorithm

    torch.set_num_threads(1)  # a run that is going on needs the others
    for name, value in words:
        if len(value) > LONGEST or set(value) & set("&*"):
            raise UserError(f"{name} is not a setting that the page takes; use `menon replay`")
    changes = [dict([override(f"{name}={value}")]) for name, value in words]
    if any(names_code(one) for one in changes):
        raise UserError("parts of your own run on the command line alone; use `menon replay`")
    view = RunView.open(path)
    own = Algorithm.of_run(view, code=False)
    return made(view, step, own, own.changed(recipe, changes))


def names_code(tree: Any) -> bool:
    """Whether settings name code; no file is looked for."""
    if isinstance(tree, str):
        return REFERENCE.fullmatch(tree) is not None
    values = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ()
    return any(names_code(value) for value in values)


def one_answer(made: "Replay", row: str) -> dict[str, Any]:
    """The tokens of one answer. UserError if there is none in that row."""
    if not row.isdecimal() or int(row) >= made.batch.num_sequences:
        raise UserError(f"step {made.step} has no answer in row {row}; it has {made.batch.num_sequences}")
    return made.answer(int(row))
