"""A stream of a `RemoteSampler`: requests go to processes, completions come back as they finish.

A process and its part of the stream take turns. It computes until completions are finished and sends them;
once they have all been returned, it is sent what follows from them, and goes on. The messages that it was
sent are kept: a process that takes its place is sent them again, in the same turns, and writes the same. From
completions of `last` requests of a stream without `keep` nothing follows, so after them it goes on at once.
"""

import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal, Protocol, Self

from menon.engines.dealing import bare, deal, do_in_order
from menon.engines.remote_sampler_process import ABORT, ASKED, DONE, END, FAILED, LATE, Asked, Late
from menon.engines.sampler_member import Heard, Member
from menon.errors import UserError
from menon.processes.wire import Message, encode
from menon.types import Completion, Request


class Owner(Protocol):
    """What a stream uses of its sampler."""

    version: int
    computed_tokens: int
    members: list[Member]

    def check(self, request: Request) -> None: ...


@dataclass(frozen=True)
class Kept:
    """A promise of requests is kept, or what prevented it."""

    part: "Part"
    promise: int
    requests: list[Request] | BaseException


class RemoteStream:
    """See `rollout.protocols.Stream`. One thread at a time may use it; any may abort it."""

    def __init__(self, sampler: Owner, number: int, keep: bool) -> None:
        self.sampler, self.number, self.keep = sampler, number, keep
        self.inbox: SimpleQueue[Heard | Kept] = SimpleQueue()
        self.asked: list[Iterable[Request]] = []
        """Requests since the last completion was returned."""
        self.batch: deque[tuple[Part, Completion]] = deque()
        """Completions that are not returned yet."""
        self.current: Part | None = None
        """The part that wrote the completion that was returned last."""
        self.prompts: dict[int, int] = {}
        """Index of a prompt -> the part that has its kept prefixes."""
        self.parts = [Part(self, member) for member in sampler.members]
        self.aborting = False
        self.late: SimpleQueue[Callable[[], None] | None] | None = None
        """What to do in a thread that waits for requests."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.late is not None:
            self.late.put(None)
        for part in self.parts:
            part.end()

    def ask(self, requests: Iterable[Request]) -> None:
        if isinstance(requests, Sequence):
            for request in requests:
                self.sampler.check(request)
        self.asked.append(requests)

    def abort(self) -> None:
        """See `rollout.protocols.Aborts`."""
        if self.keep:
            raise RuntimeError("a stream that keeps prefixes cannot be aborted; open it without keep")
        self.aborting = True
        for part in self.parts:
            part.abort()

    def __iter__(self) -> Iterator[Completion]:
        while (completion := self._next()) is not None:
            yield completion

    def _next(self) -> Completion | None:
        """The next completion; None when all requests are answered."""
        if (part := self.current) is not None:
            part.following += self.asked
            self.asked, self.current = [], None
            if not part.left and part.state == "waits":
                part.go_on()
        while not self.batch:
            if any(part.state != "idle" for part in self.parts):
                self._hear(self.inbox.get())
            elif self.asked:
                self._deal()
            else:
                return None
        self.current, completion = self.batch.popleft()
        self.current.left -= 1
        return completion

    def _deal(self) -> None:
        """Gives every part its share of the requests, when all others are answered."""
        requests = [request for asked in self.asked for request in self.read(asked)]
        self.asked = []
        shares = [requests]
        if len(self.parts) > 1:
            shares = deal(requests, len(self.parts), self.prompts if self.keep else None)
        for part, share in zip(self.parts, shares, strict=True):
            if share:
                part.following = [share]
                part.go_on()

    def read(self, asked: Iterable[Request]) -> list[Request]:
        """Requests, checked; it waits for those that are not known yet."""
        found = list(asked)
        if not isinstance(asked, Sequence):
            for request in found:
                self.sampler.check(request)
        return found

    def promise(self, part: "Part", number: int, asked: Iterable[Request]) -> None:
        """Reads requests in a thread, in the order of the promises."""

        def work() -> None:
            try:
                self.inbox.put(Kept(part, number, self.read(asked)))
            except BaseException as error:
                self.inbox.put(Kept(part, number, error))

        if self.late is None:
            self.late = SimpleQueue()
            threading.Thread(target=do_in_order, args=(self.late,), daemon=True).start()
        self.late.put(work)

    def _hear(self, heard: Heard | Kept) -> None:
        if isinstance(heard, Kept):
            if isinstance(heard.requests, BaseException):
                raise heard.requests
            heard.part.keep_promise(heard.promise, heard.requests)
            return
        part = next(part for part in self.parts if part.member is heard.member)
        if heard.life != part.life:
            return
        if not isinstance(heard.message, Message):
            part.start_again()
            return
        kind, _, *about = heard.message.data
        if kind == FAILED:
            part.state = "idle"
            name, text = about
            raise UserError(
                text if name == "UserError" else f"{part.member.name} has failed ({name}: {text})"
            )
        self.sampler.computed_tokens += about[0]
        written = [] if kind == DONE else part.completions(heard.message.body)
        part.left += len(written)
        self.batch.extend((part, completion) for completion in written)
        if kind == DONE or not about[1]:
            part.take_turn(done=kind == DONE)


State = Literal["idle", "computes", "waits"]


class Part:
    """The part of a stream that one process writes."""

    def __init__(self, stream: RemoteStream, member: Member) -> None:
        self.stream, self.member = stream, member
        self.state: State = "idle"
        """idle: all is answered; computes: it is the turn of the process; waits: it is ours."""
        self.following: list[Iterable[Request]] = []
        """Requests that the process was not sent yet."""
        self.left = 0
        """How many of its completions are not returned yet."""
        self.owed: dict[int, Request] = {}
        """Requests without an answer, by number."""
        self.promised: list[int] = []
        """Promises that are not kept yet."""
        self.asks: list[bytes] = []
        self.lates: list[bytes] = []
        """The messages of our turns and of kept promises, since the stream began or the weights changed."""
        self.turns = 0
        """How many of `asks` the process has been sent."""
        self.count = self.promises = 0
        """How many requests, and promises, there were."""
        self.version = stream.sampler.version
        self.exact = True
        """Whether the messages that are kept are all."""
        self.life = member.life
        member.listeners[stream.number] = stream.inbox.put

    def go_on(self) -> None:
        """Our turn: sends what follows from the completions."""
        self._forget()
        first, following, self.following = self.count, self.following, []
        items: list[list[Request] | int] = []
        for asked in following:
            if isinstance(asked, Sequence):
                items.append(self._number(list(asked)))
            else:
                self.promises += 1
                self.promised.append(self.promises)
                items.append(self.promises)
                self.stream.promise(self, self.promises, asked)
        self.asks.append(self._encoded(ASKED, Asked(self.stream.keep, items, first)))
        self._send_turn()

    def keep_promise(self, promise: int, requests: list[Request]) -> None:
        first = self.count
        self.promised.remove(promise)
        self.lates.append(self._encoded(LATE, Late(promise, self._number(requests), first)))
        if self.turns:
            self._write(self.lates[-1])
        if self.state == "computes":
            self._assign()

    def completions(self, body: bytes | memoryview) -> list[Completion]:
        """What the process has written; one in another's place writes some a second time."""
        new = [each for each in pickle.loads(body) if each[0] in self.owed]
        if new:  # one that ends again and again at the same place writes the same before it
            self.member.failures = 0
        return [Completion(request=self.owed.pop(number), **fields) for number, fields in new]

    def take_turn(self, done: bool) -> None:
        """The process has ended its turn."""
        self.state = "idle" if done else "waits"
        self.member.post.assign(self.stream.number, "")
        if self.turns < len(self.asks):
            self._send_turn()
        elif self.following if done else not self.left and self.stream.current is not self:
            self.go_on()

    def start_again(self) -> None:
        """The process has ended: another one is sent the same again, or, if the weights have changed since,
        only what is owed."""
        self.member.replace(self.life)
        self.life, self.turns = self.member.life, 0
        self._forget()
        if not self.exact:
            first, requests = self.count, list(self.owed.values())
            self.owed, self.lates = {}, []
            asked = Asked(self.stream.keep, [self._number(requests), *self.promised], first)
            self.asks = [self._encoded(ASKED, asked)]
        if self.state == "computes" or (not self.exact and self.owed):
            self._send_turn()

    def abort(self) -> None:
        """If the process has ended, the one that takes its place is asked once more."""
        self.member.write(self.life, encode([ABORT, self.stream.number]))

    def end(self) -> None:
        self.member.listeners.pop(self.stream.number, None)
        self.member.post.assign(self.stream.number, "")
        if self.turns:
            self.member.send(self.life, [END, self.stream.number])

    def _forget(self) -> None:
        """What was sent before the weights changed cannot be written again."""
        if self.version != self.stream.sampler.version:
            self.version, self.exact = self.stream.sampler.version, False
            del self.asks[: self.turns]
            self.turns, self.lates = 0, []

    def _send_turn(self) -> None:
        self.state = "computes"
        begins, self.turns = not self.turns, self.turns + 1
        self._write(self.asks[self.turns - 1])
        if begins:
            for late in self.lates:
                self._write(late)
        if self.stream.aborting:  # a process that takes the place of another has not heard of it
            self.abort()
        self._assign()

    def _assign(self) -> None:
        """Says what the process has to do: nothing while it may rightly wait for what was promised."""
        task = "" if self.promised else f"write {len(self.owed)} answers"
        self.member.post.assign(self.stream.number, task)

    def _write(self, encoded: bytes) -> None:
        if not self.member.write(self.life, encoded):
            self.stream.inbox.put(Heard(self.member, self.life, None))

    def _number(self, requests: list[Request]) -> list[Request]:
        """Numbers the requests; returns them without what the process need not know."""
        self.owed.update(enumerate(requests, self.count))
        self.count += len(requests)
        return bare(requests)

    def _encoded(self, kind: str, data: Any) -> bytes:
        return encode([kind, self.stream.number], pickle.dumps(data))
