"""`menon workbench [RUNS...]`: run folders in a local web page."""

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from menon.cli.words import NO_OPTION, understand
from menon.errors import UserError, pip_install

USAGE = "workbench takes run folders and port=N: menon workbench runs port=8000"


def workbench(words: Sequence[str]) -> int:
    """Shows run folders in a web page on this machine: curves, answers, tokens, comparisons, causes. It
    prints its address, reads the folders as they are at each request, follows runs that go on, and writes
    nothing but your notes. Without a folder it shows those in runs/.

    port=N    the port (0, the default, picks a free one)
    host=NAME the address to listen at; other than 127.0.0.1 it asks for the token in the printed address
    """
    found = understand(words, no_option=NO_OPTION)
    settings = dict(found.settings)
    number, host = str(settings.pop("port", 0)), str(settings.pop("host", "127.0.0.1"))
    if settings or not number.isdecimal() or int(number) > 65535:
        raise UserError(USAGE)
    port = int(number)
    try:
        import uvicorn

        from menon.workbench.app import create
    except ModuleNotFoundError as error:
        raise UserError(
            f"the workbench needs {error.name}; install it by {pip_install('workbench')}"
        ) from None
    from menon.workbench.runs import Runs

    runs, token = Runs([Path(word) for word in found.plain or ["runs"]]), token_for(host)
    with listening(host, port) as place:
        address = f"{address_of(host, place)}/" + (f"?token={token}" if token else "")
        print(f"menon workbench  {address}  (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(create(runs, token), log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[place])
    return 0


def token_for(host: str) -> str | None:
    """A new token where others can reach the address; None on this machine alone."""
    return None if host in ("127.0.0.1", "localhost", "::1") else secrets.token_urlsafe(24)


def address_of(host: str, place: socket.socket) -> str:
    """The address of a socket that listens at this host, without a slash at its end."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{place.getsockname()[1]}"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. UserError if it cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port} ({error.strerror}); name another port=, or 0"
        ) from None
