"""The web application of the workbench."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from menon.workbench.api import answer, answers, compare, credit, curves, listing, notes, replay, run
from menon.workbench.guard import Guard
from menon.workbench.runs import Runs

STATIC = Path(__file__).parent / "static"
VIEWS = (listing, run, curves, compare, notes, answers, answer, credit, replay)


def create(runs: Runs, token: str | None = None) -> Starlette:
    """The application that shows these runs; with a token only to who knows it."""

    def page(request: Request) -> FileResponse:
        return FileResponse(STATIC / "index.html")

    return Starlette(
        routes=[
            Route("/", page),
            *(one for view in VIEWS for one in view.routes(runs)),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, token=token)],
    )
