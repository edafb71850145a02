"""One process of a `RemoteSampler`, seen from here: it is started, given weights, and replaced when it
ends."""

import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from menon.engines.remote_sampler_process import ADOPT, COMPARE, HOLDS, READY, WEIGHTS, Begin
from menon.errors import UserError
from menon.processes.deadline import Late
from menon.processes.supervisor import Supervisor
from menon.processes.wire import Message, RemoteError, encode
from menon.processes.worker import Ended, Launch, Worker

MOST_RESTARTS = 10
"""How often in a row a process is replaced that has written nothing in between."""
COPY_LIMIT = 600.0
"""Seconds that a process may take to start, to receive all weights, and to compute their fingerprint."""


@dataclass(frozen=True)
class Heard:
    """What is heard of a member: a message, or that its process has ended (None, or what it raised)."""

    member: "Member"
    life: int
    message: Message | RemoteError | None


Listener = Callable[[Heard], None]


class Member:
    """Any thread may send. The messages of the process go to the streams that they are about.

    A process has a `life`, a number that grows with each replacement. What is sent to an earlier life is
    dropped: its streams are gone, and their listeners hear that it has ended.
    """

    def __init__(self, name: str, launch: Launch, begin: Begin, supervisor: Supervisor) -> None:
        self.name, self.begin = name, pickle.dumps(begin)
        self.worker = Worker(launch)
        self.post = supervisor.watch(name, self.worker)
        self.life = 0
        self.failures = 0
        """Replacements since completions were last received."""
        self.listeners: dict[int, Listener] = {}
        self.closed = False
        self._ended = -1
        """The last life that has ended."""
        self._weights: Sequence[bytes] = ()
        """Encoded messages with the weights that were given last, for a process that takes this one's
        place."""
        self._version: int | None = None
        """Their version, once both sides were compared."""
        self._fingerprint = ""
        self._holder = -1
        """The life that holds them."""
        self._replies: SimpleQueue[Heard] = SimpleQueue()
        self._writing, self._state = threading.Lock(), threading.RLock()
        self._start()

    def send(self, life: int, data: Any, body: bytes = b"") -> bool:
        return self.write(life, encode(data, body))

    def write(self, life: int, encoded: bytes) -> bool:
        """Sends an encoded message to the process of this life; False if it has ended."""
        with self._writing:
            if life != self.life or life == self._ended:
                return False
            with suppress(Ended):
                self.worker.write(encoded)
                return True
        return False

    def give(self, weights: Sequence[bytes]) -> str:
        """Sends all weights; returns the fingerprint of what the process then holds. It then waits for
        `adopt`. A process that ends meanwhile is replaced."""
        with self._state:  # a stream that replaces the process meanwhile copies weights too
            self._weights, self._version = weights, None
            while True:
                life = self.life
                if (found := self._copy(life)) is not None:
                    self._fingerprint, self._holder = found, life
                    return found
                self.replace(life)

    def adopt(self, version: int) -> None:
        """Both sides hold the same: the process goes on with these weights under this version."""
        with self._state:
            self._version = version
            if self._holder == self.life:
                self.send(self.life, [ADOPT, version])
            else:
                self._restore(version)

    def replace(self, life: int) -> None:
        """Starts a process in place of that of this life, with the weights that were given last, unless
        another thread has done so. UserError: it cannot be kept alive."""
        with self._state:
            if self.closed:
                raise UserError(f"{self.name} was closed while it was to {self.post.task or 'do nothing'}")
            if life != self.life:
                return
            ended = self.worker.ended()
            why = f"{self.post.fault}; {ended.words}" if self.post.fault else ended.words
            self.failures += 1
            if self.failures > MOST_RESTARTS:
                raise UserError(
                    f"{self.name} has ended {self.failures} times without an answer in between, at last "
                    f"so: {why}; if memory ran out, lower slots or max_new_tokens"
                )
            print(
                f"menon: {self.name} has ended ({why}); another process takes its place",
                file=sys.stderr,
                flush=True,
            )
            with self._writing:
                self.life += 1
            self._start()
            if self._version is not None:
                self._restore(self._version)

    def close(self) -> None:
        self.closed = True
        self.worker.kill()
        with self._state:
            self.worker.close()

    def _start(self) -> None:
        self.post.started()
        for last in (False, False, True):
            try:
                self.worker.start()
                break
            except (Ended, Late, RemoteError) as error:  # what forks the processes was killed too
                if last:
                    raise UserError(f"{self.name} did not start ({error})") from None
        self.worker.listen(_Mailbox(self, self.life), None)
        self.send(self.life, ["begin"], self.begin)

    def _copy(self, life: int) -> str | None:
        """Sends the weights; the fingerprint of what the process holds, None if it has ended."""
        self.post.assign(self, "take new weights")
        try:
            for message in (encode([WEIGHTS]), *self._weights, encode([COMPARE])):
                if not self.write(life, message):
                    return None
            while True:
                heard = self._replies.get(timeout=COPY_LIMIT)
                if heard.life == life:
                    return heard.message.data[1] if isinstance(heard.message, Message) else None
        except Empty:
            self.worker.kill()
            return None
        finally:
            self.post.assign(self, "")

    def _restore(self, version: int) -> None:
        """Gives a new process the weights of the old one. If it ends meanwhile, that is heard of as of any
        other end."""
        life = self.life
        found = self._copy(life)
        if found is not None and found != self._fingerprint:
            raise RuntimeError(f"{self.name} holds other weights than the process before it")
        self._holder = life
        self.send(life, [ADOPT, version])

    def _hear(self, life: int, message: Message | RemoteError | None) -> None:
        """Called by the thread that listens to the process."""
        heard = Heard(self, life, message)
        if isinstance(message, Message):
            if self.post.hears(message.data) or message.data[0] == READY:
                return
            if message.data[0] == HOLDS:
                self._replies.put(heard)
            elif (listener := self.listeners.get(message.data[1])) is not None:
                listener(heard)
        elif message is None:  # an exception of the process is printed by it, and it ends
            self._ended = life
            self._replies.put(heard)
            for listener in list(self.listeners.values()):
                listener(heard)


class _Mailbox:
    """Where the thread that listens to the process of one life puts its messages."""

    def __init__(self, member: Member, life: int) -> None:
        self.member, self.life = member, life

    def put(self, item: tuple[Any, Message | RemoteError | None], /) -> None:
        self.member._hear(self.life, item[1])
