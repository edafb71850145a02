"""The tree of a group, or the segments and turns of its answers."""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from menon.errors import UserError
from menon.workbench.answers import route
from menon.workbench.api.answer import unreadable
from menon.workbench.credit_view import group_of
from menon.workbench.runs import Runs


def routes(runs: Runs) -> list[Route]:
    def tree(request: Request) -> dict[str, Any]:
        view, step = runs.view(request.path_params["run"]), request.path_params["step"]
        try:
            return group_of(view, step, request.path_params["group"])
        except (OSError, ValueError) as error:  # pyarrow's own are these
            if isinstance(error, UserError):
                raise
            raise UserError(unreadable(view.transcripts.path(step), error)) from None

    return [route("/api/run/{run}/step/{step:int}/tree/{group:int}", tree)]
