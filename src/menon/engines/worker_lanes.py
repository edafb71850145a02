"""The parts of a stream that worker processes write: what they are sent, and what they are owed."""

import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NoReturn

from menon.engines.dealing import bare, deal, do_in_order
from menon.engines.decoding.settings import Settings
from menon.engines.sampler_process import BEGIN, END, ENDED, FURTHER, Begin, Further, Written
from menon.engines.worker_samplers import WorkerSamplers
from menon.errors import UserError
from menon.processes.wire import Message, RemoteError
from menon.types import Completion, Request

Asked = Iterable[Request]
Read = Callable[[Iterable[Asked]], list[Request]]
"""Asked -> all requests, checked; it may wait for some of them."""


@dataclass(frozen=True)
class Settled:
    """The requests that follow from completions are known and sent; this many more will be answered."""

    count: int


class WorkerLanes:
    """The parts of a stream that worker processes write. Lane n is process n - 1; lane 0 is this process.

    A process is sent only the requests that follow from its own completions, in their order, so what it
    computes in which step does not depend on the speed of the others (`decoding.lane`).
    """

    def __init__(self, workers: WorkerSamplers, settings: Settings, keep: bool, read: Read) -> None:
        self.workers, self.keep = workers, keep
        self.prompts: dict[int, int] = {}
        """Index of a prompt -> the lane that has its kept prefixes."""
        begin = pickle.dumps(Begin(settings, keep))
        self.lanes = [WorkerLane(workers, index, begin, read, keep) for index in range(len(workers.workers))]
        workers.busy = True

    @property
    def done(self) -> bool:
        """Whether all requests are answered, and all that follow from the answers are sent."""
        return not any(lane.owed or lane.unsettled for lane in self.lanes)

    @property
    def has_sent(self) -> bool:
        return not self.workers.inbox.empty()

    def deal(self, requests: Sequence[Request], most: int, version: int) -> list[Request]:
        """Sends every process its part and returns this process's. UserError if one cannot see the
        weights."""
        self.workers.check()
        mine, *others = deal(requests, len(self.lanes) + 1, self.prompts if self.keep else None)
        data = [lane.packed(0, part, most, version) for lane, part in zip(self.lanes, others, strict=True)]
        for lane, part, message in zip(self.lanes, others, data, strict=True):
            if part:
                lane.owed += len(part)
                lane.send(message)
        return mine

    def settle(self, lane: int, count: int, following: list[Asked], most: int, version: int) -> None:
        """Settles the next `count` completions of a lane with the requests that follow from them."""
        self.lanes[lane - 1].settle(count, following, most, version)

    def take(self) -> tuple[int, list[Completion], int]:
        """Waits for a message: number of its lane, completions, tokens that were computed since the last one.
        UserError if a worker fails or dies."""
        try:
            index, message = self.workers.hear(self._owes)
            lane = self.lanes[index]
            if isinstance(message, Settled):
                lane.unsettled -= 1
                lane.owed += message.count
                return index + 1, [], 0
            if isinstance(message, Message):
                written: Written = pickle.loads(message.body)
                lane.owed -= len(written.completions)
                return index + 1, lane.completions(written), written.computed_tokens
            if message is None and lane.asks_again():
                return index + 1, [], 0
            self._fail(index, message)
        except UserError:
            raise
        except BaseException:
            self.workers.close()  # a message may have been sent or taken in part
            raise

    def _owes(self, index: int) -> bool:
        """Whether a process has something to compute, and waits for nothing."""
        return self.lanes[index].owed > 0 and not self.lanes[index].unsettled

    def _fail(self, index: int, message: BaseException | None) -> NoReturn:
        if message is None:
            how = f"has ended ({self.workers.workers[index].ended().words})"
        elif not isinstance(message, RemoteError):
            raise message
        elif message.kind == "UserError":
            raise UserError(message.text)
        else:
            how = f"has failed ({message})"
        raise UserError(
            f"a process that writes answers {how}; if memory ran out lower slots or max_new_tokens, or start "
            "with threads=1"
        )

    def end(self) -> int:
        """Ends the stream in every process; returns the number of computed tokens that were not yet
        reported."""
        computed = 0
        if self.workers.close.alive:
            open_lanes = {lane.index for lane in self.lanes if lane.end()}
            while open_lanes:
                index, message = self.workers.hear(open_lanes.__contains__)
                if message is None:
                    open_lanes.discard(index)
                elif isinstance(message, Message):
                    computed += pickle.loads(message.body).computed_tokens
                    if message.data[0] == ENDED:
                        open_lanes.discard(index)
        self.workers.busy = False
        return computed


class WorkerLane:
    """One process's part of a stream, seen from this process."""

    def __init__(
        self, workers: WorkerSamplers, index: int, begin: bytes, read: Read, keep: bool = False
    ) -> None:
        self.workers, self.index, self.begin, self.read = workers, index, begin, read
        self.may_restart = not keep
        """Whether a new process may write what is owed: once, and only where nothing is kept from answers
        that were written."""
        self.latest = (0, 0)
        """Most sequences at a time and the version of the weights, of the last requests."""
        self.requests: dict[int, Request] = {}
        """Requests without an answer, by number."""
        self.asked = self.owed = 0
        """How many requests were sent, and how many answers are still to come."""
        self.unsettled = 0
        """Number of steps of the process whose completions are not settled."""
        self.begun, self.open = False, True
        self.lock = threading.Lock()
        self.late: SimpleQueue[Callable[[], None] | None] | None = None

    def packed(self, count: int, requests: Sequence[Request], most: int, version: int) -> bytes:
        first, self.latest = self.asked, (most, version)
        self.asked += len(requests)
        self.requests.update(enumerate(requests, first))
        return pickle.dumps(Further(count, bare(requests), first, most, version))

    def asks_again(self) -> bool:
        """Starts another process in place of one that has ended, and asks it for what is owed. Returns
        whether that can be done."""
        if not self.may_restart or not self.begun or not self.open:
            return False
        why = self.workers.workers[self.index].ended().words
        print(
            f"menon: a process that writes answers has ended ({why}); another one writes what it owed",
            file=sys.stderr,
            flush=True,
        )
        with self.lock:  # which requests that were waited for are sent under
            self.may_restart = self.begun = False
            self.workers.start_again(self.index)
            owed, self.requests = list(self.requests.values()), {}
            self.send(self.packed(0, owed, *self.latest))
        return True

    def send(self, data: bytes) -> None:
        if not self.begun:
            self.begun = True
            self.workers.send(self.index, BEGIN, self.begin)
        self.workers.send(self.index, FURTHER, data)

    def completions(self, written: Written) -> list[Completion]:
        return [
            Completion(request=self.requests.pop(place), **fields) for place, fields in written.completions
        ]

    def settle(self, count: int, following: list[Asked], most: int, version: int) -> None:
        """Sends the requests that follow from the next completions. If they must be waited for, a thread
        sends them, in the same order, so that this process can go on."""

        life = self.workers.lives[self.index]

        def work() -> None:
            requests: Sequence[Request] = ()
            try:
                requests = self.read(following)
                message: Settled | BaseException = Settled(len(requests))
            except BaseException as error:
                message = error
            with self.lock:
                if not self.open:
                    return
                self.workers.put(self.index, message)
                if isinstance(message, Settled):
                    same = life == self.workers.lives[self.index]  # another process has written nothing yet
                    self.send(self.packed(count if same else 0, requests, most, version))

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
        """Sends the last message of the stream; returns whether the process will answer it."""
        with self.lock:
            self.open = False
        if self.late is not None:
            self.late.put(None)
        if self.begun:
            self.workers.send(self.index, END)
        return self.begun
