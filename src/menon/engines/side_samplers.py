"""The processes that write answers beside a sampler's own: started with it, asked together, ended with it.

Two samplers in threads of one process wait for each other's bookkeeping; two processes do not.
"""

import os
import pickle
import socket
import subprocess
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from multiprocessing.connection import Connection
from queue import SimpleQueue

from torch import nn

from menon.child import command, ending
from menon.engines.decoder import Decoder
from menon.engines.decoding.scheduler import Job, Voice
from menon.engines.sampler_process import FORGET, STOP, Message
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.types import Completion, Request

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
Inbox = SimpleQueue[tuple[int, Message | None]]
"""Number of the process, and its message; None when it has ended."""


class SideSamplers:
    """`count` processes. The model's parameters move into memory that they share."""

    def __init__(self, model: nn.Module, count: int) -> None:
        """They start at once and import while this process goes on."""
        self.parameters = list(model.parameters())
        self.weights = SharedWeights.of(self.parameters)
        self.inbox: Inbox = SimpleQueue()
        self.sides = [Side(self.weights.descriptor, self.inbox, number) for number in range(count)]
        self.seats: dict[int, int] | None = None
        """While answers are held: prompt -> the process (0 is this one) that has its starts."""
        self.computed_tokens = 0
        """Of all calls so far."""
        self.busy = False
        """A call is under way; another one cannot be, for a process does one thing at a time."""
        self.close = weakref.finalize(self, close, self.sides, self.weights)

    def introduce(self, decoder: Decoder, voice: Voice) -> None:
        data = self.weights.dumps((decoder, voice))
        for side in self.sides:
            side.send(data)

    def hold(self, on: bool) -> None:
        self.seats = {} if on else None
        if not on and not self.busy:
            self._forget()

    def _forget(self) -> None:
        for side in self.sides:
            side.send(pickle.dumps(FORGET))

    def deal(self, requests: Sequence[Request]) -> list[list[Request]]:
        """This process's part, and one for each of the others."""
        return deal(requests, len(self.sides) + 1, self.seats)

    def answer(self, jobs: Sequence[Job], own: Iterator[Completion]) -> Iterator[Completion]:
        """What the others write, and this process's own between it. UserError: of a process, or that one has died."""
        if any(self.weights.place(parameter) is None for parameter in self.parameters):
            raise UserError(
                "the sampler's weights were replaced and not changed in place, so its processes do not see the new ones; make a "
                "new sampler"
            )
        data = [pickle.dumps(bare(job)) for job in jobs]
        left: dict[int, int] = {}
        """Processes that are at it, and how many answers they owe."""
        self.busy = True
        try:
            for number, job in enumerate(jobs):
                if job.requests:
                    left[number] = len(job.requests)
                    self.sides[number].send(data[number])
            for completion in own:
                yield completion
                while not self.inbox.empty():
                    yield from self._take(jobs, left)
            while left:
                yield from self._take(jobs, left)
        except (GeneratorExit, UserError):
            self._stop(left)
            raise
        except BaseException:
            self.close()  # nobody knows how far a message went
            raise
        finally:
            self.busy = False
            if self.seats is None and self.close.alive:
                self._forget()  # a `holding` that ended meanwhile

    def _take(self, jobs: Sequence[Job], left: dict[int, int]) -> list[Completion]:
        """The next message; a process whose job has ended owes nothing more."""
        number, message = self.inbox.get()
        if isinstance(message, list):
            left[number] -= len(message)
            return [Completion(request=jobs[number].requests[place], **fields) for place, fields in message]
        owed = left.pop(number, 0)
        if message is None:
            how = ending(self.sides[number].process)
            raise UserError(
                f"a process that writes answers has ended ({how}); if memory ran out lower slots or max_new_tokens, or start "
                "with threads=1"
            )
        if isinstance(message, str):
            raise UserError(message)
        self.computed_tokens += message
        if owed:
            raise RuntimeError(f"a process ended its job with {owed} answers missing")
        return []

    def _stop(self, left: dict[int, int]) -> None:
        """Ends the jobs that are under way and hears what is still said of them."""
        for number in left:
            self.sides[number].send(pickle.dumps(STOP))
        while left:
            number, message = self.inbox.get()
            if not isinstance(message, list):
                left.pop(number, None)
                self.computed_tokens += message if isinstance(message, int) else 0


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


def deal(requests: Sequence[Request], count: int, seats: dict[int, int] | None) -> list[list[Request]]:
    """As many requests to each, those of a prompt side by side; with `seats` all of a prompt go to one, and always the same."""
    by_prompt: dict[int, list[Request]] = {}
    for request in requests:
        by_prompt.setdefault(request.prompt.index, []).append(request)
    if seats is None:
        ordered = [request for group in by_prompt.values() for request in group]
        cuts = [len(ordered) * part // count for part in range(count + 1)]
        return [ordered[begin:end] for begin, end in pairwise(cuts)]
    parts: list[list[Request]] = [[] for _ in range(count)]
    for index, group in by_prompt.items():
        seat = seats.setdefault(index, min(range(count), key=lambda part: len(parts[part])))
        parts[seat].extend(group)
    return parts


def bare(job: Job) -> Job:
    """Without what only this process needs: texts and columns of the questions."""
    given = {id(request.prompt): request.prompt for request in job.requests}
    prompts = {name: replace(prompt, text="", answer=None, columns={}) for name, prompt in given.items()}
    return replace(
        job, requests=[replace(request, prompt=prompts[id(request.prompt)]) for request in job.requests]
    )
