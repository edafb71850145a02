"""A sampler whose engine writes in another process: calls, and the thread that hands out what the process
sends."""

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch

from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.engine_stream import EngineStream
from menon.engines.engine_wire import CALL, WRITTEN, unpack_answers
from menon.engines.request_checks import Check
from menon.errors import UserError
from menon.processes.deadline import Late
from menon.processes.supervisor import Entry, Supervisor
from menon.processes.wire import Message, RemoteError
from menon.processes.worker import Ended, Launch, Worker
from menon.sync.to_engine import Content

CALL_LIMIT = 600.0
"""Seconds for a call, such as loading weights."""

TASKS = dict.fromkeys(("load", "reload", "receive", "map", "adapt"), "take new weights") | {
    "meet": "join the group that weights are broadcast in",
    "loaded": "show what weights it holds",
}
"""What the heartbeat file calls a function of the engine."""


class EngineSampler:
    """A `Sampler`. `name` is the engine's, for messages. Nothing may be asked before `ready`.

    Its weights are in another process (`sync.to_engine`). UserError when the process ends, with its last
    words; Late when a call takes too long.
    """

    version = 0
    gives: frozenset[str] = frozenset()

    def __init__(
        self,
        name: str,
        launch: Launch,
        detokenizer: Detokenizer,
        check: Check,
        seed: int,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.name, self.detokenizer, self.check, self.seed = name, detokenizer, check, seed
        self.streams: dict[int, EngineStream] = {}
        """Number of a request without an answer -> the stream that waits for it."""
        self.numbers = count()
        self._lock, self._calling = threading.Lock(), threading.Lock()
        self._replies: SimpleQueue[Any] = SimpleQueue()
        self._failure: BaseException | None = None
        self._closing = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.worker = Worker(launch)
        self.entry = (Entry if supervisor is None else supervisor.note)(name, self.worker)
        self.entry.assign(CALL, "start")
        self.worker.start()
        inbox: SimpleQueue[Any] = SimpleQueue()
        self.worker.listen(inbox, 0)
        threading.Thread(target=self._hand_out, args=(inbox,), daemon=True).start()

    def ready(self, seconds: float) -> Mapping[str, Any]:
        """Waits for the start of the engine; returns what it says of itself."""
        about = dict(self._reply("its start", seconds))
        self.entry.assign(CALL, "")
        self.dtype: torch.dtype = getattr(torch, about["dtype"].removeprefix("torch."))
        return about

    def open(self, keep: bool = False) -> EngineStream:
        """See `rollout.protocols.Sampler`. The engine keeps what it can in its prefix cache, with `keep` and
        without."""
        return EngineStream(self)

    def call(self, name: str, *arguments: Any, seconds: float = CALL_LIMIT) -> Any:
        """What a function of the engine returns. RuntimeError with the engine's own words if it raised."""
        with self.begun(name, *arguments, seconds=seconds) as result:
            return result()

    def begun(self, name: str, *arguments: Any, seconds: float = CALL_LIMIT) -> "Begun":
        """The same for a caller that has something to do while the engine works, such as sending what it is
        to receive."""
        return Begun(self, name, arguments, seconds)

    def adapt(self, folder: Path, number: int) -> None:
        """See `sync.by_adapter.TakesAdapter`."""
        self.call("adapt", str(folder), number)

    def adapter_contents(self, rank: int) -> dict[str, Content]:
        """See `sync.by_adapter.TakesAdapter`."""
        return contents_of(self.call("adapter_contents", rank))

    def loaded(self, version: int) -> dict[str, Content]:
        """See `sync.to_engine.RemoteWeights`."""
        is_reset, found = self.call("loaded", version)
        if not is_reset:
            raise RuntimeError(
                f"{self.name} did not reset its prefix cache, so keys and values of the old weights could "
                "answer"
            )
        return contents_of(found)

    def send(self, data: list[Any], body: bytes = b"") -> None:
        if self._failure is not None:
            raise self._failure
        with self._lock, suppress(Ended):  # the thread that listens says why
            self.worker.send(data, body)

    def keep(self, folder: "tempfile.TemporaryDirectory[str]") -> None:
        """Keeps a folder that the engine reads from, until `close`."""
        self._folder = folder

    def close(self) -> None:
        """Ends the process."""
        self._closing = True
        self.worker.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _reply(self, what: str, seconds: float) -> Any:
        if self._failure is not None:
            raise self._failure
        try:
            result = self._replies.get(timeout=seconds)
        except Empty:
            self.entry.fault = f"{what} took longer than {seconds:g} s"
            self.worker.kill()
            raise Late(f"{self.name}: {self.entry.fault}") from None
        if isinstance(result, RemoteError):
            raise RuntimeError(f"{self.name}, {what}: {result}")
        if isinstance(result, BaseException):
            raise result
        return result

    def _hand_out(self, inbox: "SimpleQueue[Any]") -> None:
        """Gives each message to the stream or the call that waits for it, until the process ends."""
        error: RemoteError | None = None
        while (message := inbox.get()[1]) is not None:
            self.entry.hears()
            if isinstance(message, RemoteError):
                error = message
                if self._calling.locked():
                    self._replies.put(message)
            elif message.data[0] == WRITTEN:
                self._answered(message)
            else:
                self._replies.put(message.data[1])
        why = self.worker.ended().words
        if not self._closing:
            self.entry.fault = self.entry.fault or why
        said = f"; it said: {error.text.strip().splitlines()[-1]}" if error and error.text.strip() else ""
        self._failure = UserError(
            f"the process of {self.name} has ended ({why}){said}; its output above says more"
        )
        self._replies.put(self._failure)
        for stream in set(self.streams.values()):
            stream.events.put(self._failure)

    def _answered(self, message: Message) -> None:
        for answer in unpack_answers(message.data, message.body):
            if (stream := self.streams.pop(answer.number, None)) is not None:
                stream.events.put(answer)
        self.owes()

    def owes(self) -> None:
        """Writes down how many answers the process has to write."""
        self.entry.assign(WRITTEN, f"write {len(self.streams)} answers" if self.streams else "")


class Begun:
    """A call that is under way; only one at a time."""

    def __init__(self, sampler: EngineSampler, name: str, arguments: Sequence[Any], seconds: float) -> None:
        self.sampler, self.name, self.arguments, self.seconds = sampler, name, arguments, seconds

    def __enter__(self) -> Callable[[], Any]:
        self.sampler._calling.acquire()
        self.sampler.entry.assign(CALL, TASKS.get(self.name, self.name))
        try:
            self.sampler.send([CALL, self.name, *self.arguments])
        except BaseException:
            self.sampler._calling.release()
            raise
        return lambda: self.sampler._reply(self.name, self.seconds)

    def __exit__(self, *error: object) -> None:
        if self.sampler._failure is None:
            self.sampler.entry.assign(CALL, "")
        self.sampler._calling.release()


def contents_of(found: Mapping[str, Any]) -> dict[str, Content]:
    """Contents as JSON brings them."""
    return {name: (dtype, tuple(shape), total) for name, (dtype, shape, total) in found.items()}
