"""What the views answer: strict JSON, and one sentence for what is not there."""

import json
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from menon.cli.plain_json import plain
from menon.errors import UserError
from menon.workbench.runs import NoSuchRun


def json_answer(value: Any, status: int = 200) -> Response:
    """A value as strict JSON; a number that is not finite is null."""
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def route(path: str, function: Callable[[Request], Any], method: str = "GET") -> Route:
    """A route whose function is given the request, runs in a thread, and returns plain data or a Response. A
    UserError becomes {"error": its sentence}: 404 for a run that is not there, else 400."""

    async def answer(request: Request) -> Response:
        try:
            found = await run_in_threadpool(function, request)
        except UserError as error:
            return json_answer({"error": str(error)}, 404 if isinstance(error, NoSuchRun) else 400)
        return found if isinstance(found, Response) else json_answer(found)

    return Route(path, answer, methods=[method])
