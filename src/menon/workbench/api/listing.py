"""The runs that are shown, one line each."""

from starlette.requests import Request
from starlette.routing import Route

from menon.errors import UserError
from menon.record.reader import RunView
from menon.workbench.answers import route
from menon.workbench.runs import Runs


def routes(runs: Runs) -> list[Route]:
    def listing(request: Request) -> list[dict]:
        return [line(name, RunView(path)) for name, path in runs.paths().items()]

    return [route("/api/runs", listing)]


def line(name: str, view: RunView) -> dict:
    """One run; a folder that cannot be read has an `error` in place of its numbers."""
    try:
        return {
            "name": name,
            "path": str(view.path),
            "state": view.state,
            "steps": view.steps,
            "recipe": view.settings.get("recipe"),
            "evaluations": [view.evaluations[i] for i in (0, -1)] if view.evaluations else [],
        }
    except (UserError, OSError, ValueError, KeyError) as error:
        return {"name": name, "path": str(view.path), "error": str(error)}
