"""The web application of `menon serve`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from menon.engines.decoding.live import Newest
from menon.errors import UserError
from menon.openai_api.fields import Asked, Refused
from menon.openai_api.http import body_of, error_of, refusal
from menon.openai_api.replies import Reply
from menon.serve.asked import asked_by
from menon.serve.door import Door
from menon.serve.model import Served
from menon.serve.sessions import Sessions
from menon.serve.writer import Event, Job
from menon.types import Finish
from menon.workbench import static_files
from menon.workbench.answers import json_answer


class Server:
    """The routes over one model; `sessions` records what is asked under the name of a session, and with
    `reload` a training run may bring new weights."""

    def __init__(self, served: Served, sessions: Sessions | None = None, reload: bool = False) -> None:
        self.served, self.sessions, self.reload = served, sessions, reload

    def routes(self) -> list[BaseRoute]:
        found: list[BaseRoute] = [
            Route("/", lambda request: RedirectResponse("/page#/playground", 303)),
            *static_files.routes("/page"),
            Route("/health", lambda request: Response()),
            Route("/api/runs", no_runs),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/sessions/{session}", self.read_session),
        ]
        for before in ("", "/session/{session}"):
            found += [
                Route(f"{before}/v1/models", self.models),
                Route(f"{before}/v1/completions", partial(self.answer, chat=False), methods=["POST"]),
                Route(f"{before}/v1/chat/completions", partial(self.answer, chat=True), methods=["POST"]),
            ]
        if self.reload:
            found.append(Route("/update_weights_from_disk", self.load, methods=["POST"]))
        return found

    async def models(self, request: Request) -> Response:
        voice = self.served.voice
        made = [
            {"id": name, "object": "model", "created": 0, "owned_by": "menon", "chat": voice.has_chat}
            | {"max_model_len": voice.context}
            for name in voice.names
        ]
        return json_answer({"object": "list", "data": made})

    async def tokenize(self, request: Request) -> Response:
        """A text as tokens, as vLLM's route of this name."""
        voice = self.served.voice
        try:
            body = await body_of(request)
            text = body.get("prompt")
            if not isinstance(text, str):
                raise Refused("prompt must be a text", "prompt")
            tokens = voice.tokenize(text, bool(body.get("add_special_tokens", True)))
        except UserError as error:
            return refusal(error)
        return json_answer({"tokens": tokens, "count": len(tokens), "max_model_len": voice.context})

    async def read_session(self, request: Request) -> Response:
        """What a session wrote, as sequences of tokens with masks."""
        try:
            if self.sessions is None:
                raise Refused("this server records no sessions; start it with sessions=FOLDER", status=404)
            return json_answer(self.sessions.read(request.path_params["session"]))
        except UserError as error:
            return refusal(error)

    async def load(self, request: Request) -> Response:
        """The weights of a model folder on this machine take the place of those that are served."""
        try:
            folder = (await body_of(request)).get("model_path")
            if not isinstance(folder, str) or not Path(folder).is_dir():
                raise Refused("model_path must be a model folder on the server's machine", "model_path")
            await asyncio.wrap_future(self.served.writer.load(Path(folder)))
        except UserError as error:
            return refusal(error)
        return json_answer({"success": True, "version": self.served.writer.sampler.version})

    async def answer(self, request: Request, chat: bool) -> Response:
        try:
            body = await body_of(request)
            asked = asked_by(body, self.served.voice, chat)
            session = self.session_of(request)
        except UserError as error:
            return refusal(error)
        reply = Reply(self.served.voice, asked)
        if asked.stream:
            return StreamingResponse(self.stream(reply, session), media_type="text/event-stream")
        writing = asyncio.create_task(self.write(reply))
        leaving = asyncio.create_task(left(request))
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not writing.done():  # the client has gone away
            writing.cancel()
            return Response(status_code=499)
        try:
            writing.result()
            self.record(session, reply)
        except UserError as error:
            return refusal(error)
        return json_answer(reply.whole())

    def session_of(self, request: Request) -> str | None:
        """The session that a request belongs to. Refused where none is recorded here."""
        name = request.path_params.get("session") or request.headers.get("x-session-id")
        if name and self.sessions is None:
            raise Refused("this server records no sessions; start it with sessions=FOLDER")
        if name and self.sessions is not None:
            self.sessions.path(name)
        return name or None

    def record(self, session: str | None, reply: Reply) -> None:
        if session and self.sessions is not None:
            self.sessions.add(session, reply, self.served.writer.sampler.version)

    async def write(self, reply: Reply) -> None:
        async for index, event in self.events(reply.asked):
            reply.take(index, event)

    async def stream(self, reply: Reply, session: str | None) -> AsyncIterator[str]:
        try:
            async for index, event in self.events(reply.asked):
                for chunk in reply.chunks(index, event):
                    yield line_of(chunk)
            self.record(session, reply)
            if reply.asked.usage:
                yield line_of(reply.last_chunk())
        except UserError as error:
            yield line_of(error_of(error))
        yield "data: [DONE]\n\n"

    async def events(self, asked: Asked) -> AsyncIterator[tuple[int, Newest | Finish]]:
        """Tokens and ends of the answers, by their index, as they are written. What is left when the caller
        stops is written no further."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()

        def deliver(index: int, event: Event) -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(queue.put_nowait, (index, event))

        jobs = [Job(one, partial(deliver, place), asked.ends) for place, one in enumerate(asked.requests)]
        missing = len(jobs)
        try:
            self.served.writer.ask(jobs)
            while missing:
                index, event = await queue.get()
                if isinstance(event, Exception):
                    raise event if isinstance(event, UserError) else Refused(f"a fault: {event}", status=500)
                missing -= not isinstance(event, Newest)
                yield index, event
        finally:
            if missing:
                self.served.writer.drop(jobs)


async def left(request: Request) -> None:
    """Returns when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def no_runs(request: Request) -> Response:
    """For the list of runs, where the page's name leads."""
    return json_answer({"error": "runs are shown by menon workbench; this server has #/playground"}, 404)


def line_of(chunk: Any) -> str:
    return f"data: {bytes(json_answer(chunk).body).decode()}\n\n"


def create(
    served: Served, token: str | None = None, sessions: Sessions | None = None, reload: bool = False
) -> Starlette:
    """The application that serves a model; with a token only to those who know it."""
    server = Server(served, sessions, reload)
    return Starlette(routes=server.routes(), middleware=[Middleware(Door, token=token)])
