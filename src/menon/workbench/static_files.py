"""The files of the page, read once and answered from memory: a request costs no thread and no look at the
disk, which on a busy machine takes longer than the file."""

import mimetypes
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
STYLES = ("vendor/uplot.css", "style.css", "playground.css", "answers.css", "replay.css", "runview.css")
"""What `styles.css` is made of, in order."""
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


def routes(place: str = "/") -> list[Route]:
    """The page at `place`, and its files below /static/. Only files that were there at the start have a name,
    so no address leads elsewhere."""
    files = {str(path.relative_to(STATIC)): path.read_bytes() for path in STATIC.rglob("*") if path.is_file()}
    files["styles.css"] = b"\n".join(files[name] for name in STYLES)

    async def page(request: Request) -> Response:
        return Response(files["index.html"], media_type="text/html")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        suffix = Path(name).suffix
        kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
        return Response(files[name], media_type=kind)

    return [Route(place, page), Route("/static/{name:path}", file)]
