"""The loop of a process that holds an engine of another library: it takes requests and calls between two
steps of the engine, and sends answers as they finish."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from menon.engines.decoding.stop_strings import Detokenizer, StopStrings
from menon.engines.engine_wire import (
    ABORT,
    ASKED,
    RETURNED,
    Answer,
    Asked,
    pack_answers,
    unpack_asked,
)
from menon.processes.wire import Connection, Message, RemoteError
from menon.types import Finish

WEIGHTS = frozenset({"load", "reload", "receive", "map", "adapt"})
"""The functions of an engine that change weights."""


@dataclass(frozen=True)
class Piece:
    """What an engine wrote of one request since the last step."""

    number: int
    tokens: Sequence[int]
    logp: Sequence[float]
    finish: Finish | None
    """None: it goes on."""


class Engine(Protocol):
    """An engine that writes step by step. Its other functions are called by name, between two steps."""

    busy: bool
    """Whether requests are unfinished."""

    def add(self, request: Asked) -> None: ...

    def step(self) -> Sequence[Piece]: ...

    def abort(self, numbers: Sequence[int]) -> None:
        """Forgets requests; those that it does not know are no error."""
        ...

    def words(self) -> Detokenizer:
        """The detokenizer of its model; asked for when a request has stop strings."""
        ...


@dataclass
class Writing:
    """A request that is being written."""

    tokens: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    version: list[int] = field(default_factory=list)
    stop: StopStrings | None = None


class EngineHandler:
    """The handler of such a process (`processes.child.Handler`). The engine is made in it, by `make`; then
    the process says that it is ready, by what `engine.about()` gives."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.version = 0
        """Version of the weights; the call `loaded` sets it."""
        self.writing: dict[int, Writing] = {}
        self.held = False
        """Whether some of the weights have come: nothing is written until the call `loaded`."""

    def __call__(self, connection: Connection) -> None:
        self.connection, self.engine = connection, self.make()
        connection.send([RETURNED, self.engine.about()])
        while True:
            while self.held or not self.engine.busy or connection.waiting():
                self.take(connection.receive())
            if answers := [each for piece in self.engine.step() if (each := self.taken(piece))]:
                connection.send(*pack_answers(answers))

    def take(self, message: Message) -> None:
        """One message from the sampler."""
        kind = message.data[0]
        if kind == ASKED:
            for request in unpack_asked(message.data, message.body):
                self.add(request)
        elif kind == ABORT:
            self.abort(message.data[1])
        else:
            self.call(*message.data[1:])

    def add(self, request: Asked) -> None:
        writing = Writing()
        if request.stop:
            prefix = request.tokens[len(request.tokens) - request.prefix :]
            writing.stop = StopStrings(self.engine.words(), request.stop, prefix)
        self.writing[request.number] = writing
        self.engine.add(request)

    def abort(self, numbers: Sequence[int]) -> None:
        """Ends requests, and sends what they have so far."""
        known = [number for number in numbers if number in self.writing]
        self.engine.abort(known)
        self.connection.send(*pack_answers([self.answer(number, "abort") for number in known]))

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the engine. An exception is the answer, and the process goes on."""
        self.held |= name in WEIGHTS
        if name == "loaded":
            self.held, self.version = False, int(arguments[0])
        try:
            result = getattr(self.engine, name)(*arguments)
        except Exception as error:
            self.connection.write(RemoteError.of(error).encode())
        else:
            self.connection.send([RETURNED, result])

    def taken(self, piece: Piece) -> Answer | None:
        """Adds a piece to its request; the answer if it ends with it."""
        writing = self.writing.get(piece.number)
        if writing is None:
            return None
        for token, logp in zip(piece.tokens, piece.logp, strict=True):
            writing.tokens.append(token)
            writing.logp.append(logp)
            writing.version.append(self.version)
            if writing.stop is not None and writing.stop.ends(token):
                if piece.finish is None:
                    self.engine.abort([piece.number])
                return self.answer(piece.number, "stop")
        return self.answer(piece.number, piece.finish) if piece.finish else None

    def answer(self, number: int, finish: Finish) -> Answer:
        done = self.writing.pop(number)
        columns = (np.array(done.tokens), np.array(done.logp), np.array(done.version))
        tokens, logp, version = columns
        return Answer(
            number, finish, tokens.astype(np.int32), logp.astype(np.float32), version.astype(np.int32)
        )
