"""A process that writes a part of each call's answers, with one thread. Of the weights it has the places alone."""

import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from menon.engines.decoder import Decoder
from menon.engines.decoder_slots import DecoderSlots
from menon.engines.held import Held
from menon.engines.sampler_run import Run, Voice
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.types import Completion, Request


@dataclass(frozen=True)
class Job:
    """One process's part of a call."""

    requests: list[Request]
    places: int
    """Slots, of which `fixed` computes all."""
    fixed: bool
    version: int
    voice: Voice
    room: int | None
    """Bytes for what is held for the next job; None: nothing is."""


Answers = list[tuple[int, dict[str, Any]]]
"""Places in the job's requests, and the fields of their completions, all but the request."""
Message = Answers | int | str
"""Some answers; at the end of a job the tokens that were computed, or why it ended."""


def main() -> None:
    """Arguments: the descriptors of the weights and of the conversation. First the decoder, then jobs; None ends a job early
    and forgets what is held."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's affair
    torch.set_num_threads(1)
    weights, conversation = (int(word) for word in sys.argv[-2:])
    with Connection(conversation) as run, suppress(EOFError, OSError):  # the run may be gone at any time, however it ended
        serve(run, SharedWeights(weights).loads(run.recv_bytes()))


def serve(run: Connection, decoder: Decoder) -> None:
    held: Held | None = None
    spare: Tensor | None = None
    while True:
        job = run.recv()
        if job is None or job.room is None:
            held = None
        elif held is None:
            held = Held(job.room)
        if job is None:
            continue
        try:
            slots = DecoderSlots(decoder, job.places, spare, job.fixed)
            run.send(answer(run, job, slots, held))
            spare = slots.spare
        except UserError as error:
            run.send(str(error))


def answer(run: Connection, job: Job, slots: DecoderSlots, held: Held | None) -> int:
    """Sends answers as they finish, until all are written or something else is asked; the tokens that were computed."""
    place = {id(request): place for place, request in enumerate(job.requests)}
    writing = Run(slots, job.places, job.requests, job.voice, job.version, held)
    while writing.busy and not run.poll():
        if finished := writing.step(job.version):
            run.send([(place[id(completion.request)], fields(completion)) for completion in finished])
    return writing.computed_tokens


def fields(completion: Completion) -> dict[str, Any]:
    return {name: value for name, value in vars(completion).items() if name != "request"}
