"""The server that agents ask, on this machine alone, and the programs that run.

It is one for all episodes of the process, in a thread with an event loop. An episode has an address and a key
of its own. A request waits here until the run's sampler has written its answer."""

import asyncio
import hmac
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from queue import Empty, SimpleQueue
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from menon.errors import UserError
from menon.openai_api.fields import Refused
from menon.openai_api.http import body_of, refusal
from menon.processes.wire import Message, RemoteError
from menon.processes.worker import LONGEST, Ended, Spawn, Worker
from menon.rollout.environments.agent_talk import Written
from menon.rollout.environments.protocol import EpisodeFailed

HOST = "127.0.0.1"
KEEPER = "menon.rollout.environments.agent_keeper:handler"
IDLE = 3600
"""Seconds after which an idle connection is closed: late, so that no client meets the close."""


@cache
def server() -> "Server":
    """The server of this process."""
    return Server()


@dataclass(frozen=True)
class Asking:
    """A request of a program."""

    body: Mapping[str, Any]
    chat: bool


@dataclass(frozen=True)
class Exit:
    """The end of a program."""

    code: int
    output: str
    errors: str


class Program:
    """The program of one episode, as the episode sees it."""

    def __init__(self, owner: "Server", model: str) -> None:
        self.owner, self.model = owner, model
        self.name, self.key = secrets.token_hex(8), secrets.token_urlsafe(24)
        self.events: SimpleQueue[Asking | Exit | None] = SimpleQueue()
        """What it does; None: look at `fault`."""
        self.waiting: asyncio.Future[Written] | None = None
        """The answer to its open request; the server's thread alone changes it."""
        self.fault = ""
        self.refused = ""
        """Why its last refused request was refused."""
        self.printed = ""

    async def ask(self, body: Mapping[str, Any], chat: bool) -> Written:
        """A request. Refused: another one is open, which also ends the episode."""
        if self.waiting is not None:
            self.fail(
                "the program sent a request before its last one was answered, and an episode is one "
                "sequence; let it ask one after the other, and give its client more time"
            )
            raise Refused(self.fault)
        self.waiting = asyncio.get_running_loop().create_future()
        self.events.put(Asking(body, chat))
        return await self.waiting

    def fail(self, fault: str) -> None:
        self.fault = self.fault or fault
        self.events.put(None)

    def next(self, seconds: float) -> Asking | None:
        """Its next request; None: it has ended well, and `printed` holds what it has printed."""
        try:
            event = None if self.fault else self.events.get(timeout=seconds)
        except Empty:
            raise EpisodeFailed(
                f"the program neither asked nor ended within {seconds:g} s; raise environment.time_s, or "
                "look at what it waits for"
            ) from None
        if self.fault:
            raise EpisodeFailed(self.fault)
        if not isinstance(event, Exit):
            return event
        if event.code:
            raise EpisodeFailed(self.words_of(event))
        self.printed = event.output
        return None

    def words_of(self, ended: Exit) -> str:
        """Why a program that failed has ended."""
        code = ended.code
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        lines = [line for line in ended.errors.splitlines() if line.strip()]
        said = f"; its last line was: {lines[-1].strip()[:LONGEST]}" if lines else ""
        why = f"; a request of it was refused: {self.refused}" if self.refused else ""
        return f"the program ended with {how}{said}{why}"

    def say(self, written: Written) -> None:
        """Answers its open request."""
        self._in_loop(partial(_set, written))

    def refuse(self, error: UserError) -> None:
        """Answers its open request with an error."""
        self.refused = str(error)
        self._in_loop(partial(_fail, error))

    def close(self) -> None:
        """Ends it, if it still runs."""
        self.owner.end(self)
        self.fail("the episode is over")  # wakes who waits for its next request
        self.refuse(Refused(self.fault, status=410))

    def _in_loop(self, act: Any) -> None:
        def answer() -> None:
            waiting, self.waiting = self.waiting, None
            if waiting is not None and not waiting.done():
                act(waiting)

        self.owner.loop.call_soon_threadsafe(answer)


def _set(written: Written, waiting: asyncio.Future[Written]) -> None:
    waiting.set_result(written)


def _fail(error: UserError, waiting: asyncio.Future[Written]) -> None:
    waiting.set_exception(error)


class Server:
    """Starts and ends programs, and answers them."""

    def __init__(self) -> None:
        self.programs: dict[str, Program] = {}
        self.keeper: Worker | None = None
        self.lock = threading.Lock()
        """For the keeper, and one message to it at a time."""
        place = socket.create_server((HOST, 0), backlog=2048)
        self.address = f"http://{HOST}:{place.getsockname()[1]}"
        self.loop = asyncio.new_event_loop()
        config = uvicorn.Config(
            self.application(), log_level="error", lifespan="off", timeout_keep_alive=IDLE, access_log=False
        )
        serving = uvicorn.Server(config).serve(sockets=[place])
        threading.Thread(target=self.loop.run_until_complete, args=(serving,), daemon=True).start()

    def application(self) -> Starlette:
        root = "/session/{name}/v1"
        return Starlette(
            routes=[
                Route(f"{root}/models", self.models),
                Route(f"{root}/completions", partial(self.answer, chat=False), methods=["POST"]),
                Route(f"{root}/chat/completions", partial(self.answer, chat=True), methods=["POST"]),
            ]
        )

    def start(self, command: str, question: str, model: str) -> Program:
        """Starts a program. EpisodeFailed: the process that would start it cannot be started itself."""
        program = Program(self, model)
        self.programs[program.name] = program
        address = f"{self.address}/session/{program.name}/v1"
        environment = os.environ | {
            "OPENAI_BASE_URL": address,
            "OPENAI_API_BASE": address,  # the name that older clients read
            "OPENAI_API_KEY": program.key,
            "OPENAI_MODEL": model,
        }
        for name in ("no_proxy", "NO_PROXY"):
            environment[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
        self._tell(["start", program.name, command, environment, question])
        return program

    def end(self, program: Program) -> None:
        if self.programs.pop(program.name, None) is not None:
            with suppress(EpisodeFailed):
                self._tell(["end", program.name])

    def put(self, item: tuple[Any, Message | RemoteError | None]) -> None:
        """Takes a message of the keeper (`processes.worker.Inbox`)."""
        keeper, message = item
        if isinstance(message, Message):
            name, *end = message.data
            if (program := self.programs.get(name)) is not None:
                program.events.put(Exit(*end))
            return
        why = str(message) if message is not None else str(keeper.ended())
        for program in list(self.programs.values()):
            program.fail(f"the process that runs the programs has ended ({why})")

    def _tell(self, message: list[Any]) -> None:
        with self.lock:
            if self.keeper is None or not self.keeper.pid:
                self.keeper = Worker(Spawn(KEEPER, watched=False))  # it must end the programs before itself
                self.keeper.start()
                self.keeper.listen(self, self.keeper)
            try:
                self.keeper.send(message)
            except Ended as ended:
                raise EpisodeFailed(f"the process that runs the programs has ended ({ended.words})") from None

    async def models(self, request: Request) -> Response:
        try:
            program = self.program_of(request)
        except UserError as error:
            return refusal(error)
        made = {"id": program.model, "object": "model", "created": 0, "owned_by": "menon"}
        return JSONResponse({"object": "list", "data": [made]})

    async def answer(self, request: Request, chat: bool) -> Response:
        try:
            program = self.program_of(request)
            written = await program.ask(await body_of(request), chat)
        except UserError as error:
            return refusal(error)
        if written.reply.asked.stream:
            return StreamingResponse(lines_of(written), media_type="text/event-stream")
        for event in written.events:
            written.reply.take(0, event)
        return JSONResponse(written.reply.whole())

    def program_of(self, request: Request) -> Program:
        """Whose request it is. Refused: an episode that is over, or a wrong key."""
        program = self.programs.get(request.path_params["name"])
        if program is None:
            raise Refused("there is no such episode, or it is over", status=404)
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), program.key.encode()):
            program.refused = "its key is wrong; it must send OPENAI_API_KEY as Authorization: Bearer KEY"
            raise Refused(program.refused, status=401, code="invalid_api_key")
        return program


def lines_of(written: Written) -> Iterator[str]:
    """The chunks of a stream. The answer is whole before the first one."""
    reply = written.reply
    chunks = [chunk for event in written.events for chunk in reply.chunks(0, event)]
    if reply.asked.usage:
        chunks.append(reply.last_chunk())
    for chunk in chunks:
        yield f"data: {bytes(JSONResponse(chunk).body).decode()}\n\n"
    yield "data: [DONE]\n\n"
