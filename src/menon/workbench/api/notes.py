"""Notes on runs: the one thing that the workbench writes."""

import json
import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from menon.errors import UserError
from menon.record import disk
from menon.workbench.answers import json_answer
from menon.workbench.runs import NoSuchRun, Runs

LONGEST = 4000
"""Characters of a note."""
MOST_BYTES = 32_000
"""Bytes of a request."""
MOST_STORED = 1_000_000
"""Bytes of a run's notes."""


def routes(runs: Runs) -> list[Route]:
    async def add(request: Request) -> Response:
        try:
            run, text = await read(request)
            return json_answer(write(runs, run, text))
        except UserError as error:
            return json_answer({"error": str(error)}, 404 if isinstance(error, NoSuchRun) else 400)

    return [Route("/api/notes", add, methods=["POST"])]


async def read(request: Request) -> tuple[str, str]:
    """The run and the text of {"run": ..., "text": ...}. UserError for anything else."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise UserError("a note is sent as JSON: {run, text}")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise UserError(f"a note has at most {LONGEST} characters; shorten it")
    try:
        value = json.loads(body)
        run, text = value["run"], value["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError("a note is sent as JSON: {run, text}") from None
    if not isinstance(run, str) or not isinstance(text, str) or not text.strip():
        raise UserError("a note needs some text")
    if len(text) > LONGEST:
        raise UserError(f"a note has at most {LONGEST} characters and this one has {len(text)}; shorten it")
    return run, text.encode("utf-8", "replace").decode("utf-8")


def write(runs: Runs, run: str, text: str) -> list[dict]:
    """Appends a note and returns all of the run. UserError where it cannot be written."""
    file = runs.view(run).layout.notes
    try:
        if file.exists() and file.stat().st_size > MOST_STORED:
            raise UserError(f"{file} is full; move it away, and new notes begin a new one")
        disk.append(file, disk.json_line({"time": round(time.time(), 3), "text": text.strip()}))
    except OSError as error:
        raise UserError(
            f"the note cannot be written to {file} ({disk.cause(error)}); make the folder writable, or copy "
            "the run to a disk that is"
        ) from None
    return runs.view(run).notes
