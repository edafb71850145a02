"""The web application of the workbench."""

from starlette.applications import Starlette
from starlette.middleware import Middleware

from menon.workbench import static_files
from menon.workbench.api import answer, answers, compare, credit, curves, listing, notes, replay, run
from menon.workbench.guard import Guard
from menon.workbench.runs import Runs

VIEWS = (listing, run, curves, compare, notes, answers, answer, credit, replay)


def create(runs: Runs, token: str | None = None) -> Starlette:
    """The application that shows these runs; with a token only to who knows it."""
    return Starlette(
        routes=[*static_files.routes(), *(one for view in VIEWS for one in view.routes(runs))],
        middleware=[Middleware(Guard, token=token)],
    )
