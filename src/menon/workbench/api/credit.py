"""The tree of a group, or the segments and turns of its answers."""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from menon.workbench.answers import route
from menon.workbench.credit_view import group_of
from menon.workbench.reading import reading
from menon.workbench.runs import Runs


def routes(runs: Runs) -> list[Route]:
    def tree(request: Request) -> dict[str, Any]:
        view, step = runs.view(request.path_params["run"]), request.path_params["step"]
        with reading(view.transcripts.path(step)):
            return group_of(view, step, request.path_params["group"])

    return [route("/api/run/{run}/step/{step:int}/tree/{group:int}", tree)]
