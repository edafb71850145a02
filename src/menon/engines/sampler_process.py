"""A worker process that generates a share of each call's completions on one thread.

It maps the learner's weights from shared memory instead of holding a copy.
"""

import pickle
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch

from menon.engines.decoder import Decoder
from menon.engines.decoding.decoder_slots import DecoderSlots, renewed
from menon.engines.decoding.prefix_cache import Held
from menon.engines.decoding.scheduler import Job, Run, Voice
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.processes.wire import Connection, RemoteError
from menon.types import Completion

REQUESTS, STOP, FORGET = "requests", "stop", "forget"
"""Messages to a worker. `[REQUESTS, first]` brings a pickled job, whose requests are numbered from `first`;
STOP drops every request that is not answered yet; FORGET frees the keys and values that are held for later
requests."""
COMPLETIONS, STOPPED = "completions", "stopped"
"""Messages from a worker, with the number of tokens computed since its last one. `[COMPLETIONS, tokens]`
brings pickled `Answers`; `[STOPPED, tokens]` confirms a STOP: no completion of an earlier request follows."""
Answers = list[tuple[int, Mapping[str, Any]]]
"""Numbers of requests, and the fields of their completions without the request."""


class SamplerHandler:
    """What a worker runs. It first receives the descriptor of the shared weights, and the network that uses
    them."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.jobs: deque[tuple[int, Job]] = deque()
        self.held: Held | None = None
        self.kept: DecoderSlots | None = None

    def __call__(self, connection: Connection) -> None:
        self.connection = connection
        weights = SharedWeights(*connection.receive_descriptors(1))
        decoder, voice = weights.loads(connection.receive().body)
        while True:
            while not self.jobs:
                if self.receive() == STOP:
                    connection.send([STOPPED, 0])
            first, job = self.jobs.popleft()
            try:
                self.write(first, job, decoder, voice)
            except UserError as error:
                self.jobs.clear()
                connection.write(RemoteError.of(error).encode())

    def receive(self) -> str:
        """Waits for one message and acts on it; its name."""
        (name, *first), body = self.connection.receive()
        if name == REQUESTS:
            self.jobs.append((*first, pickle.loads(body)))
        elif name == STOP:
            self.jobs.clear()
        elif name == FORGET:
            self.held = None
        return name

    def write(self, first: int, job: Job, decoder: Decoder, voice: Voice) -> None:
        """Sends completions as they finish, until all are sent or a STOP arrives. A job that arrives
        meanwhile is next."""
        if job.room is not None:
            self.held = self.held or Held(job.room)
        slots = renewed(self.kept, decoder, job.places, job.fixed)
        self.kept = None  # until the job is done: after an error its NaNs must not reach a later job
        number = {id(request): first + place for place, request in enumerate(job.requests)}
        run = Run(slots, job, voice, None if job.room is None else self.held)
        reported = 0
        while run.busy:
            if self.connection.waiting() and self.receive() == STOP:
                self.connection.send([STOPPED, run.computed_tokens - reported])
                break
            if finished := run.step(job.version):
                answers = [(number[id(completion.request)], fields(completion)) for completion in finished]
                self.connection.send([COMPLETIONS, run.computed_tokens - reported], pickle.dumps(answers))
                reported = run.computed_tokens
        if slots.cache.nbytes <= job.keep:
            self.kept = slots


def fields(completion: Completion) -> dict[str, Any]:
    return {name: value for name, value in vars(completion).items() if name != "request"}
