"""`menon serve MODEL`: a model for clients of OpenAI's API."""

from collections.abc import Sequence
from pathlib import Path

from menon import threads
from menon.assembly.run import use
from menon.cli.words import NO_OPTION, understand
from menon.cli.workbench import address_of, listening, token_for
from menon.errors import UserError, pip_install
from menon.serve.config import ServeConfig
from menon.settings import read


def serve(words: Sequence[str]) -> int:
    """Serves a model (a folder, a run's newest checkpoint, or base) to any client of OpenAI's API, with token
    ids and log-probs, and shows a playground at its address. Requests share one decoding batch."""
    found = understand(words, no_option=NO_OPTION)
    if len(found.plain) != 1:
        raise UserError("serve takes one model or run: menon serve runs/mine port=8000")
    model = found.plain[0]
    use(threads.choose({"model": model, **found.settings}), str(found.settings.get("device", "auto")))
    config = read(ServeConfig, found.settings)
    try:
        import uvicorn

        from menon.serve.app import create
    except ModuleNotFoundError as error:
        raise UserError(f"serve needs {error.name}; install it by {pip_install('workbench')}") from None
    from menon.serve.model import Served
    from menon.serve.sessions import Sessions

    token = token_for(config.host)
    sessions = None if config.sessions is None else Sessions(Path(config.sessions))
    with listening(config.host, config.port) as place:
        served = Served.load(model, config.names, config.device, config.slots)
        address = address_of(config.host, place)
        print(f"menon serve  {served.names[0]}  {address}/v1  (Ctrl-C ends it)", flush=True)
        print(f"  playground  {address}/{f'?token={token}' if token else ''}", flush=True)
        if token:
            print(f"  key  {token}", flush=True)
        app = create(served, token, sessions, config.reload)
        settings = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        uvicorn.Server(settings).run(sockets=[place])
    served.writer.close()
    return 0
