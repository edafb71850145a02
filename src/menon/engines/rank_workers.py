"""The processes of a host's ranks, as the controller sees them: started together, asked together, and ended
together as soon as one of them fails."""

import pickle
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

from torch import Tensor

from menon.engines.rank_group import PATIENCE, loopback_only
from menon.engines.rank_process import BUILD, DONE, JOIN, MEET, Seat
from menon.engines.tensor_pieces import MORE, Pieces
from menon.errors import UserError
from menon.processes.deadline import Late
from menon.processes.forkserver import Forkserver
from menon.processes.idle import SILENT, Idle
from menon.processes.supervisor import Entry, Supervisor
from menon.processes.wire import Message, RemoteError
from menon.processes.worker import Ended, Launch, Spawn, Worker

BEAT = 5.0
"""Seconds after which it is looked whether the ranks still compute."""
GRACE = 1.0
"""Seconds to wait for the end of a rank whose loss another rank has noticed first."""


TASKS = {
    MEET: "open a place to meet",
    JOIN: "meet the other ranks",
    BUILD: "build its models",
    "score": "compute log-probs",
    "update": "compute its part of an update",
    "gradient": "compute its part of a gradient",
    "tensors": "hand out the policy's weights",
    "fingerprint": "compute a fingerprint",
    "follow": "move a model that follows another",
    "export": "write a model folder",
    "save": "write a checkpoint",
    "load": "read a checkpoint",
}
"""What the heartbeat file calls that which a rank is asked for."""


class RankLost(UserError):
    """A rank has ended or hangs; the run can be resumed."""


class RankWorkers:
    """A process for each seat, started by one launch or each by its own. `shared`: others are started by the
    same `launch`, which stays. `supervisor` writes down what they have to do."""

    def __init__(
        self,
        launch: Launch | Sequence[Launch],
        seats: Sequence[Seat],
        shared: bool = False,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.seats = tuple(seats)
        launches = launch if isinstance(launch, Sequence) else [launch] * len(self.seats)
        self.inbox: SimpleQueue[tuple[int, Message | RemoteError | None]] = SimpleQueue()
        self.workers = [Worker(one) for one in launches]
        note = Entry if supervisor is None else supervisor.note
        self.entries = [note(f"rank {seat.rank}", one) for seat, one in zip(seats, self.workers, strict=True)]
        self.close = weakref.finalize(self, close_workers, self.workers, None if shared else launches[0])
        self.lost: RankLost | None = None

    def __len__(self) -> int:
        return len(self.seats)

    def start(self, build: bytes) -> Any:
        """Starts all, lets them meet, and has them build their models of the pickled `build`. What the first
        rank tells of them."""
        try:
            for rank, worker in enumerate(self.workers):
                worker.start()
                worker.listen(self.inbox, rank)
        except RemoteError as error:  # what ranks import cannot be imported
            raise failure(error, str(error)) from None
        except (Ended, Late) as error:
            raise RankLost(f"the ranks could not be started: {error}") from None
        self._send(0, MEET, pickle.dumps(()))
        meeting = self._replies({0})[0]
        for rank, seat in enumerate(self.seats):
            self._send(rank, JOIN, pickle.dumps((meeting, seat)))
        self._replies()
        for rank in range(len(self)):
            self._send(rank, BUILD, build)
        return self._replies()[0]

    def call(self, name: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Has each rank call a method of its host with its own arguments; the results by rank."""
        for rank, given in enumerate(arguments):
            self._send(rank, name, pickle.dumps(given))
        found = self._replies()
        return [found[rank] for rank in range(len(self))]

    def tensors(self, name: str, arguments: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, Tensor]]:
        """The same for a method that hands out tensors, one at a time: what is kept of one must be copied
        before the next. If the caller stops early, the rest is read and dropped."""
        for rank, given in enumerate(arguments):
            self._send(rank, name, pickle.dumps(given))
        owed, pieces = set(range(len(self))), Pieces()
        try:
            yield from self._wholes(owed, pieces)
        except GeneratorExit:
            if self.lost is None:
                for _ in self._wholes(owed, pieces):
                    pass
            raise

    def _wholes(self, owed: set[int], pieces: Pieces) -> Iterator[tuple[str, Tensor]]:
        limit = None
        while owed:
            rank, message = self._next(owed, limit)
            if message.data[0] == DONE:
                self._done(rank, owed)
                continue
            limit = PATIENCE.total_seconds()
            whole = pieces.add(rank, message.data, message.body)
            if whole is None:
                continue
            for waiting in pieces.waiting.pop(whole[0], []):
                self._post(waiting, [MORE])
            yield whole
        if pieces.begun:
            raise RuntimeError(f"the ranks have sent only a part of {', '.join(pieces.begun)}")

    def _send(self, rank: int, name: str, body: bytes) -> None:
        if self.lost is not None:
            raise self.lost
        self.entries[rank].assign(self, TASKS.get(name, name))
        self._post(rank, [name], body)

    def _post(self, rank: int, data: list[str], body: bytes = b"") -> None:
        try:
            self.workers[rank].send(data, body)
        except Ended:
            self._fail(rank, None)

    def _done(self, rank: int, owed: set[int]) -> None:
        owed.discard(rank)
        self.entries[rank].assign(self, "")

    def _replies(self, of: set[int] | None = None) -> dict[int, Any]:
        owed = set(range(len(self))) if of is None else set(of)
        found: dict[int, Any] = {}
        while owed:
            rank, message = self._next(owed)
            self._done(rank, owed)
            found[rank] = pickle.loads(message.body)
        return found

    def _next(self, owed: set[int], limit: float | None = None) -> tuple[int, Message]:
        """The next message of a rank. All ranks end if one of them ends or fails, if none of those that owe
        an answer has computed for `SILENT` seconds, or if none has sent something for `limit` seconds, as
        where one on another host is stopped."""
        if self.lost is not None:
            raise self.lost
        idle, last = Idle(), time.monotonic()
        while True:
            try:
                rank, message = self.inbox.get(timeout=BEAT)
            except Empty:
                here = [rank for rank in owed if self.workers[rank].is_here]
                silent = [rank for rank in here if idle.too_long(self.workers[rank].pid)]
                waited = time.monotonic() - last
                if len(silent) == len(owed):
                    self._silent(silent, waited, SILENT)
                if limit is not None and waited > limit:
                    self._silent(sorted(owed), waited, limit)
                continue
            if isinstance(message, Message):
                self.entries[rank].hears()
                return rank, message
            self._fail(rank, message)

    def _silent(self, ranks: Sequence[int], seconds: float, limit: float) -> NoReturn:
        """None of the ranks computes: one is stopped, or they wait for each other."""
        here = [rank for rank in ranks if self.workers[rank].is_here]
        stopped = [rank for rank in here if state_of(self.workers[rank].pid) in ("T", "t")]
        who = f"rank {stopped[0]} is stopped" if stopped else f"none of {self._names(ranks)} computes"
        for rank in stopped or ranks:
            self.entries[rank].fault = "it was stopped" if stopped else "it did not compute"
        self._end(f"{who}, and no answer has come for {seconds:.0f} s (at most {limit:.0f} s are waited)")

    def _fail(self, rank: int, error: RemoteError | None) -> NoReturn:
        """Blames the rank that failed first: others notice the loss of one, and fail after it."""
        end = time.monotonic() + GRACE
        while error is not None and error.kind != "UserError" and (left := end - time.monotonic()) > 0:
            try:
                other, message = self.inbox.get(timeout=left)
            except Empty:
                break
            if message is None and self.workers[other].ended().how.startswith("signal"):
                rank, error = other, None
        if error is None:
            self.entries[rank].fault = words = self.workers[rank].ended().words
            self._end(f"rank {rank} of {len(self)} has ended ({words})")
        self.entries[rank].fault = str(error)
        self.close()
        self.lost = RankLost(f"rank {rank} of {len(self)} failed: {error}")
        raise failure(error, str(self.lost))

    def _end(self, what: str) -> NoReturn:
        self.close()
        self.lost = RankLost(f"{what}; all ranks were ended, and the run can go on from its last checkpoint")
        raise self.lost

    def _names(self, ranks: Sequence[int]) -> str:
        return f"ranks {', '.join(map(str, ranks))}" if len(ranks) > 1 else f"rank {ranks[0]}"


def failure(error: RemoteError, words: str) -> Exception:
    """What a rank has raised, as it is raised here: a user's fault in its own words."""
    return UserError(error.text) if error.kind == "UserError" else RuntimeError(words)


def launch_of(entry: str, arguments: Sequence[Any], seat: Seat) -> Spawn | Forkserver:
    """How ranks are started. `entry` is `module:name` of what makes their handler, from `arguments`. On CPUs
    the libraries are imported once for all ranks, and each is forked from there; CUDA is left out of a
    fork."""
    count = str(seat.threads)
    own = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OMP_WAIT_POLICY": "PASSIVE"}
    launch = Spawn if seat.device != "cpu" else Forkserver
    return launch(entry, *arguments, environment=own | loopback_only())


def close_workers(workers: Sequence[Worker], launch: Launch | None) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.close()
    if isinstance(launch, Forkserver):
        launch.close()


def state_of(pid: int) -> str:
    """What /proc says a process does: R, S, T (stopped) and so on; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
