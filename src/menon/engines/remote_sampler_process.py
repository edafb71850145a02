"""A process that holds a copy of the policy's weights and writes text with the built-in sampler.

Several streams may be open; each makes one step in turn. A stream computes until completions are finished,
sends them, and waits for the requests that follow from them. So what it computes depends on the messages
alone and never on the speed of the other side, and is what the same sampler would compute without a process
in between.
"""

import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.engines import model_structure
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.decoding.torch_stream import TorchStream
from menon.engines.put_aside import give_back
from menon.engines.sampler_process import without_request
from menon.errors import UserError
from menon.processes.pulse import Pulse
from menon.processes.wire import Connection, Message, RemoteError, encode
from menon.sync.fingerprint import fingerprint
from menon.types import Request

ASKED, LATE, ABORT, END = "asked", "late", "abort", "end"
"""Messages to the process about a stream, `[kind, stream]`: what follows from the last completions, with a
pickled `Asked`; requests that were promised in one, with a pickled `Late`; all that is not answered is given
out as it is; the end of the stream."""
WEIGHTS, TENSOR, COMPARE, ADOPT = "weights", "tensor", "compare", "adopt"
"""Messages to the process about weights: new ones follow; one of them, `[TENSOR, name]` with its bytes; all
are there; `[ADOPT, version]`: both sides hold the same, go on."""
FREE = "free"
"""Message to the process: give the memory of finished streams back."""
READY, WRITTEN, DONE, FAILED, HOLDS = "ready", "written", "done", "failed", "holds"
"""Messages from the process: its sampler is made; `[WRITTEN, stream, computed tokens, goes on]` with pickled
completions, after which the process goes on or waits for what follows from them; `[DONE, stream, computed
tokens]`: all that was asked is answered; `[FAILED, stream, kind, text]`; `[HOLDS, fingerprint]`."""


@dataclass(frozen=True)
class Begin:
    """The first message to the process."""

    structure: bytes
    """The model without its weights (`model_structure`)."""
    tokenizer: PreTrainedTokenizerBase
    settings: dict[str, Any]
    """Those of `TorchSampler`."""
    device: str
    threads: int


@dataclass(frozen=True)
class Asked:
    """What follows from the completions that were sent last."""

    keep: bool
    items: Sequence[list[Request] | int]
    """Requests, or the number of a promise of requests (`Late`)."""
    first: int
    """Number of the first request; the others count on from it."""


@dataclass(frozen=True)
class Late:
    """Requests that were promised."""

    promise: int
    requests: list[Request]
    first: int


class RemoteSamplerHandler:
    """The handler of the process (`processes.child.Handler`)."""

    def __init__(self) -> None:
        self.streams: dict[int, Writing] = {}
        self.deferred: deque[Message] = deque()
        """Messages about streams that arrived among those of new weights."""
        self.lock = threading.Lock()
        self.counted = 0

    def __call__(self, connection: Connection) -> None:
        self.connection = connection
        begin: Begin = pickle.loads(connection.receive().body)
        torch.set_num_threads(begin.threads)
        self.pulse = Pulse(self.send)
        model: Any = model_structure.loads(begin.structure, torch.device(begin.device))
        assert isinstance(model, PreTrainedModel)
        self.sampler = TorchSampler(model, begin.tokenizer, **begin.settings)
        self.send([READY])
        while (message := connection.receive()).data[0] != WEIGHTS:
            self.deferred.append(message)
        self.take_weights()
        while True:
            while self.deferred or connection.waiting() or not any(w.computes for w in self.streams.values()):
                self.take(self.deferred.popleft() if self.deferred else connection.receive())
            for writing in [w for w in self.streams.values() if w.computes]:
                writing.step()
                self.pulse.progress += 1

    def send(self, data: Any, body: bytes = b"") -> None:
        with self.lock:
            self.connection.write(encode(data, body))

    def newly_computed(self) -> int:
        """Tokens computed since the last call."""
        before, self.counted = self.counted, self.sampler.computed_tokens
        return self.counted - before

    def take(self, message: Message) -> None:
        kind, *rest = message.data
        if kind == WEIGHTS:
            self.take_weights()
        elif kind == FREE:
            self.sampler.free()
            give_back()
        elif kind == END:
            if (writing := self.streams.pop(rest[0], None)) is not None:
                writing.stream.__exit__()
        elif kind == ABORT:
            if rest[0] in self.streams:
                self.streams[rest[0]].stream.abort()
        elif kind == LATE:
            if rest[0] in self.streams:
                late: Late = pickle.loads(message.body)
                self.streams[rest[0]].promises[late.promise] = late
        else:
            asked: Asked = pickle.loads(message.body)
            if rest[0] not in self.streams:
                self.streams[rest[0]] = Writing(self, rest[0], asked.keep)
            self.streams[rest[0]].ask(asked)

    @torch.no_grad()
    def take_weights(self) -> None:
        """Nothing is computed until the other side has compared the fingerprints: text by a mixture of old
        and new weights would look like any other."""
        held = self.sampler.weights()
        while True:
            message = self.connection.receive()
            kind, *rest = message.data
            if kind == TENSOR:
                weight = held[rest[0]]
                given = torch.frombuffer(message.body, dtype=weight.dtype)
                weight.copy_(given.view(weight.shape))
                self.pulse.progress += 1
            elif kind == COMPARE:
                self.send([HOLDS, fingerprint(held)])
            elif kind == ADOPT:
                self.sampler.version = rest[0]
                return
            else:
                self.deferred.append(message)


class Abandoned(Exception):
    """A stream was closed while it waited for requests."""


class Writing:
    """One stream of the process."""

    def __init__(self, handler: RemoteSamplerHandler, number: int, keep: bool) -> None:
        self.handler, self.number = handler, number
        self.stream: TorchStream = handler.sampler.open(keep)
        self.computes = False
        """Whether it is its turn; else it waits for what follows from its completions."""
        self.numbers: dict[int, int] = {}
        """id of a request without an answer -> its number."""
        self.requests: dict[int, Request] = {}
        """The same requests, so that no id is used twice."""
        self.promises: dict[int, Late] = {}

    def ask(self, asked: Asked) -> None:
        self.computes = True
        first = asked.first
        for item in asked.items:
            if isinstance(item, int):
                self._guard(partial(self.stream.ask, self._promised(item)))
            else:
                self._note(item, first)
                first += len(item)
                self._guard(partial(self.stream.ask, item))

    def step(self) -> None:
        """One step; sends what was finished."""
        self._guard(self._step)

    def _step(self) -> None:
        self.stream.follow()
        goes_on = self.stream.advance()
        if self.stream.batch:
            finished = [*self.stream.batch]
            self.stream.batch.clear()
            written = [(self._pop(each.request), without_request(each)) for each in finished]
            # Nothing follows from these, so it does not wait for the other side, which may be busy.
            self.computes = not self.stream.keep and all(each.request.last for each in finished)
            about = [WRITTEN, self.number, self.handler.newly_computed(), self.computes]
            self.handler.send(about, pickle.dumps(written))
        elif not goes_on:
            self.computes = False
            self.handler.send([DONE, self.number, self.handler.newly_computed()])

    def _promised(self, promise: int) -> Iterator[Request]:
        """The requests of a promise, once the stream needs them; other messages are taken meanwhile."""
        while promise not in self.promises:
            self.handler.take(self.handler.connection.receive())
            if self.handler.streams.get(self.number) is not self:
                raise Abandoned
        late = self.promises.pop(promise)
        self._note(late.requests, late.first)
        yield from late.requests

    def _note(self, requests: Sequence[Request], first: int) -> None:
        for place, request in enumerate(requests, first):
            self.numbers[id(request)], self.requests[place] = place, request

    def _pop(self, request: Request) -> int:
        number = self.numbers.pop(id(request))
        del self.requests[number]
        return number

    def _guard(self, act: Callable[[], None]) -> None:
        """A failure ends this stream alone."""
        try:
            act()
        except Abandoned:
            self.computes = False
        except (UserError, RuntimeError, MemoryError) as error:
            self.computes = False
            self.handler.streams.pop(self.number, None)
            kind, text = RemoteError.of(error).kind, str(error)
            self.handler.send([FAILED, self.number, kind, text])
