"""A process that writes a part of each call's answers, with one thread. Of the weights it has the places alone."""

import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch

from menon.engines.decoder import Decoder
from menon.engines.decoding.decoder_slots import DecoderSlots, renewed
from menon.engines.decoding.prefix_cache import Held
from menon.engines.decoding.scheduler import Job, Run, Voice
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.types import Completion

STOP, FORGET = "stop", "forget"
"""What a process hears beside jobs: to end the one that it is at, and to let go of what it holds."""
Answers = list[tuple[int, dict[str, Any]]]
"""Places in the job's requests, and the fields of their completions, all but the request."""
Message = Answers | int | str
"""Some answers; at the end of a job the tokens that were computed, or why it ended."""


def main() -> None:
    """Arguments: the descriptors of the weights and of the conversation. First comes the network with its voice, then jobs."""
    torch.set_num_threads(1)
    weights, conversation = (int(word) for word in sys.argv[2:])
    with (
        Connection(conversation) as run,
        suppress(EOFError, OSError),
    ):  # the run may be gone at any time, however it ended
        writer = Writer(run, *SharedWeights(weights).loads(run.recv_bytes()))
        while True:
            writer.hear(run.recv())


class Writer:
    """Writes for the process at the other end of a conversation."""

    def __init__(self, run: Connection, decoder: Decoder, voice: Voice) -> None:
        self.run, self.decoder, self.voice = run, decoder, voice
        self.held: Held | None = None
        self.kept: DecoderSlots | None = None

    def hear(self, message: Job | str) -> None:
        if isinstance(message, Job):
            try:
                self.run.send(self.write(message))
            except UserError as error:
                self.run.send(str(error))
        elif message == FORGET:
            self.held = None

    def write(self, job: Job) -> int:
        """Sends answers as they finish, until all are written or something else is said; the tokens that were computed."""
        if job.room is not None:
            self.held = self.held or Held(job.room)
        slots = renewed(self.kept, self.decoder, job.places, job.fixed)
        self.kept = (
            None  # until the job is done: damaged weights leave numbers behind that no later job may meet
        )
        place = {id(request): place for place, request in enumerate(job.requests)}
        writing = Run(slots, job, self.voice, None if job.room is None else self.held)
        while writing.busy and not self.run.poll():
            if finished := writing.step(job.version):
                self.run.send(
                    [(place[id(completion.request)], fields(completion)) for completion in finished]
                )
        if slots.cache.nbytes <= job.keep:
            self.kept = slots
        return writing.computed_tokens


def fields(completion: Completion) -> dict[str, Any]:
    return {name: value for name, value in vars(completion).items() if name != "request"}
