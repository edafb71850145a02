"""The answers of a run: lists by filter, and the same questions at the start and now."""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from menon.workbench.answer_filter import files_of, list_of
from menon.workbench.answer_pairs import evaluated, trained
from menon.workbench.answer_rows import AnswerRows
from menon.workbench.answers import route
from menon.workbench.runs import Runs


def routes(runs: Runs) -> list[Route]:
    rows = AnswerRows()

    def answers(request: Request) -> dict[str, Any]:
        view = runs.view(request.path_params["run"])
        of = request.query_params.get("of", "training")
        return list_of(rows, files_of(view, of), request.query_params)

    def pairs(request: Request) -> dict[str, Any]:
        view = runs.view(request.path_params["run"])
        files = files_of(view, of := request.query_params.get("of", "evaluation"))
        if of == "evaluation":
            return evaluated(view, request.query_params)
        return trained(rows, files, request.query_params)

    return [route("/api/run/{run}/answers", answers), route("/api/run/{run}/pairs", pairs)]
