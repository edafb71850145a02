"""Worker processes that write a part of each stream's completions: started with a sampler, ended with it.

Two samplers in threads of one process wait for each other's bookkeeping; two processes do not.
"""

import os
import pickle
import socket
import subprocess
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing.connection import Connection
from queue import SimpleQueue

from torch import nn

from menon.child import command, ending
from menon.engines.decoder import Decoder
from menon.engines.decoding.scheduler import Detokenizer, Settings
from menon.engines.sampler_process import END, Begin, Ended, Further, Written
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.types import Completion, Prompt, Request

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
Asked = Iterable[Request]
Read = Callable[[Iterable[Asked]], list[Request]]
"""Asked -> all requests, checked; it may wait for some of them."""


@dataclass(frozen=True)
class Settled:
    """What follows from completions is known and sent: so many requests more will be answered."""

    count: int


Message = Written | Ended | Settled | str | BaseException | None
"""A str is an error that a process met; None says that the process has ended; the others speak for themselves."""
Inbox = SimpleQueue[tuple[int, Message]]
"""Number of the process, and its message."""


class SideSamplers:
    """`count` processes. The model's parameters move into memory that they share."""

    def __init__(self, model: nn.Module, count: int) -> None:
        """They start at once and import while this process goes on."""
        self.parameters = list(model.parameters())
        self.weights = SharedWeights.of(self.parameters)
        self.inbox: Inbox = SimpleQueue()
        self.sides = [Side(self.weights.descriptor, self.inbox, number) for number in range(count)]
        self.busy = False
        """A stream uses them; another one cannot, for a process does one thing at a time."""
        self.close = weakref.finalize(self, close, self.sides, self.weights)

    def introduce(self, decoder: Decoder, detokenizer: Detokenizer) -> None:
        data = self.weights.dumps((decoder, detokenizer))
        for side in self.sides:
            side.send(data)

    def check(self) -> None:
        """UserError if the processes would not see the weights of now."""
        if any(self.weights.place(parameter) is None for parameter in self.parameters):
            raise UserError(
                "the sampler's weights were replaced and not changed in place, so its processes do not see the new "
                "ones; make a new sampler"
            )


class WorkerLanes:
    """The parts of a stream that worker processes write. Lane n is process n - 1; lane 0 is this process.

    A process is sent what follows from its own completions and nothing else, in their order, so what it computes in
    which step does not depend on how fast the others are (`decoding.lane`).
    """

    def __init__(self, sides: SideSamplers, settings: Settings, keep: bool, read: Read) -> None:
        self.sides, self.keep = sides, keep
        self.prompts: dict[int, int] = {}
        """Index of a prompt -> the lane that has its kept prefixes."""
        begin = pickle.dumps(Begin(settings, keep))
        self.lanes = [WorkerLane(side, begin, read) for side in sides.sides]
        sides.busy = True

    @property
    def done(self) -> bool:
        """All is answered, and all that follows from the answers is sent."""
        return not any(lane.owed or lane.unsettled for lane in self.lanes)

    @property
    def has_sent(self) -> bool:
        return not self.sides.inbox.empty()

    def deal(self, requests: Sequence[Request], most: int, version: int) -> list[Request]:
        """Sends every process its part and returns this process's. UserError if one cannot see the weights."""
        self.sides.check()
        mine, *others = deal(requests, len(self.lanes) + 1, self.prompts if self.keep else None)
        data = [lane.packed(0, part, most, version) for lane, part in zip(self.lanes, others, strict=True)]
        for lane, part, message in zip(self.lanes, others, data, strict=True):
            if part:
                lane.owed += len(part)
                lane.send(message)
        return mine

    def settle(self, lane: int, count: int, following: list[Asked], most: int, version: int) -> None:
        """What follows from the next `count` completions of a lane."""
        self.lanes[lane - 1].settle(count, following, most, version)

    def take(self) -> tuple[int, list[Completion], int]:
        """Waits for a message: number of its lane, completions, tokens that were computed since the last one.
        UserError: of a process, or that one has ended."""
        try:
            number, message = self.sides.inbox.get()
            lane = self.lanes[number]
            if isinstance(message, Settled):
                lane.unsettled -= 1
                lane.owed += message.count
                return number + 1, [], 0
            if isinstance(message, Written):
                lane.owed -= len(message.completions)
                finished = [
                    Completion(request=lane.requests.pop(place), **fields)
                    for place, fields in message.completions
                ]
                return number + 1, finished, message.computed_tokens
            if isinstance(message, BaseException):
                raise message
            if message is None:
                raise UserError(
                    f"a process that writes answers has ended ({ending(lane.side.process)}); if memory ran out "
                    "lower slots or max_new_tokens, or start with threads=1"
                )
            raise UserError(str(message))
        except UserError:
            raise
        except BaseException:
            self.sides.close()  # a message may have been read halfway
            raise

    def end(self) -> int:
        """Ends the stream in every process; the tokens that were computed and not yet reported."""
        computed = 0
        if self.sides.close.alive:
            open_lanes = {lane.side.number for lane in self.lanes if lane.end()}
            while open_lanes:
                number, message = self.sides.inbox.get()
                if message is None or isinstance(message, Ended):
                    open_lanes.discard(number)
                if isinstance(message, Ended | Written):
                    computed += message.computed_tokens
        self.sides.busy = False
        return computed


class WorkerLane:
    """One process's part of a stream, as the other end sees it."""

    def __init__(self, side: "Side", begin: bytes, read: Read) -> None:
        self.side, self.begin, self.read = side, begin, read
        self.requests: dict[int, Request] = {}
        """Those without an answer, by number."""
        self.asked = self.owed = 0
        """How many requests were sent, and how many answers are still to come."""
        self.unsettled = 0
        """Steps of the process of which it does not know yet what follows."""
        self.begun, self.open = False, True
        self.lock = threading.Lock()
        self.late: SimpleQueue[Callable[[], None] | None] | None = None

    def packed(self, count: int, requests: Sequence[Request], most: int, version: int) -> bytes:
        first = self.asked
        self.asked += len(requests)
        self.requests.update(enumerate(requests, first))
        return pickle.dumps(Further(count, bare(requests), first, most, version))

    def send(self, data: bytes) -> None:
        if not self.begun:
            self.begun = True
            self.side.send(self.begin)
        self.side.send(data)

    def settle(self, count: int, following: list[Asked], most: int, version: int) -> None:
        """Sends what follows from the next completions. Where that must be waited for a thread does it, in the same
        order, so that this process can go on."""

        def work() -> None:
            try:
                requests = self.read(following)
                data = self.packed(count, requests, most, version)
                message: Message = Settled(len(requests))
            except BaseException as error:
                data, message = b"", error
            with self.lock:
                if self.open:
                    self.side.inbox.put((self.side.number, message))
                    if data:
                        self.send(data)

        self.unsettled += 1
        waits = not all(isinstance(requests, Sequence) for requests in following)
        if waits and self.late is None:
            self.late = SimpleQueue()
            threading.Thread(target=do_in_order, args=(self.late,), daemon=True).start()
        if self.late is None:
            work()
        else:
            self.late.put(work)

    def end(self) -> bool:
        """Says the last word; will the process answer it?"""
        with self.lock:
            self.open = False
        if self.late is not None:
            self.late.put(None)
        if self.begun:
            self.side.send(pickle.dumps(END))
        return self.begun


def do_in_order(late: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (work := late.get()) is not None:
        work()


class Side:
    """One process."""

    def __init__(self, weights: int, inbox: Inbox, number: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [*command("menon.engines.sampler_process"), str(weights), str(theirs.fileno())],
                env=os.environ | ONE_THREAD,
                pass_fds=[weights, theirs.fileno()],
                start_new_session=True,  # Ctrl-C is the run's affair
            )
        self.connection, self.inbox, self.number = Connection(ours.detach()), inbox, number
        self.listener = threading.Thread(target=listen, args=(self.connection, inbox, number), daemon=True)
        self.listener.start()

    def send(self, data: bytes) -> None:
        try:
            self.connection.send_bytes(data)
        except OSError:
            self.inbox.put((self.number, None))  # it has died


def listen(connection: Connection, inbox: Inbox, number: int) -> None:
    try:
        with suppress(EOFError, OSError):
            while True:
                inbox.put((number, connection.recv()))
    finally:
        inbox.put((number, None))


def close(sides: Sequence[Side], weights: SharedWeights) -> None:
    for side in sides:
        side.process.kill()
        side.process.wait()
        if side.listener is not threading.current_thread():  # where the collector happened to run
            side.listener.join()  # it may still read, and a descriptor that is closed is soon another's
        side.connection.close()
    os.close(weights.descriptor)


def deal(requests: Sequence[Request], count: int, lanes: dict[int, int] | None) -> list[list[Request]]:
    """As many requests to each, those of a prompt side by side; with `lanes` all of a prompt go to one, and always
    to the same."""
    by_prompt: dict[int, list[Request]] = {}
    for request in requests:
        by_prompt.setdefault(request.prompt.index, []).append(request)
    if lanes is None:
        ordered = [request for group in by_prompt.values() for request in group]
        cuts = [len(ordered) * part // count for part in range(count + 1)]
        return [ordered[begin:end] for begin, end in pairwise(cuts)]
    parts: list[list[Request]] = [[] for _ in range(count)]
    for index, group in by_prompt.items():
        lane = lanes.setdefault(index, min(range(count), key=lambda part: len(parts[part])))
        parts[lane].extend(group)
    return parts


def bare(requests: Sequence[Request]) -> list[Request]:
    """Without what only this process needs: texts and columns of the questions."""
    found: dict[int, Prompt] = {}
    for request in requests:
        prompt = request.prompt
        found.setdefault(id(prompt), replace(prompt, text="", answer=None, columns={}))
    return [replace(request, prompt=found[id(request.prompt)]) for request in requests]
