"""A worker process that writes a part of each stream's completions, with one thread. It maps the learner's weights
from shared memory instead of holding a copy."""

import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from menon.engines.decoder import Decoder
from menon.engines.decoding.decoder_slots import DecoderSlots, renewed
from menon.engines.decoding.lane import Lane
from menon.engines.decoding.scheduler import Detokenizer, Settings
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.types import Completion, Request

END = "end"
"""The last word on a stream; a process answers it with `Ended`."""


@dataclass(frozen=True)
class Begin:
    """The first word on a stream; requests follow."""

    settings: Settings
    settles: bool


@dataclass(frozen=True)
class Further:
    """Requests that follow from the next `count` completions of this process; with 0 from none."""

    count: int
    requests: Sequence[Request]
    first: int
    """Number of the first of them among the stream's requests to this process."""
    most: int
    version: int


@dataclass(frozen=True)
class Written:
    """The completions of one step: numbers of their requests, and all other fields."""

    completions: Sequence[tuple[int, dict[str, Any]]]
    computed_tokens: int
    """Since the last message."""


@dataclass(frozen=True)
class Ended:
    computed_tokens: int


def main() -> None:
    """Arguments: the descriptors of the weights and of the conversation. The network and its detokenizer come
    first, then streams."""
    torch.set_num_threads(1)
    weights, conversation = (int(word) for word in sys.argv[2:])
    with Connection(conversation) as run, suppress(EOFError, OSError):  # the run may be gone at any time
        writer = Writer(run, *SharedWeights(weights).loads(run.recv_bytes()))
        while True:
            writer.write(run.recv())


class Writer:
    """Writes for the process at the other end of a conversation."""

    def __init__(self, run: Connection, decoder: Decoder, detokenizer: Detokenizer) -> None:
        self.run, self.decoder, self.detokenizer = run, decoder, detokenizer
        self.kept: DecoderSlots | None = None

    def write(self, begin: Begin) -> None:
        """One stream, to its end."""
        part = Part(self, begin)
        try:
            part.run()
        except UserError as error:  # damaged weights: no later stream may meet the numbers that they left
            self.run.send(str(error))
            while self.run.recv() != END:
                pass
            part.slots = None
        self.kept = part.slots
        if self.kept is not None and self.kept.cache.nbytes > begin.settings.kept_bytes:
            self.kept = None
        self.run.send(Ended(part.new_tokens()))


class Part:
    """This process's part of a stream."""

    def __init__(self, writer: Writer, begin: Begin) -> None:
        self.writer, self.begin = writer, begin
        self.conversation = writer.run
        self.heard: deque[Further] = deque()
        """What has come and is not due."""
        self.number: dict[int, int] = {}
        """id of a request that is being written -> its number in the stream."""
        self.lane: Lane | None = None
        self.slots: DecoderSlots | None = None
        self.version = self.counted = 0

    def run(self) -> None:
        """Sends completions as they finish, until the end of the stream is heard."""
        while self._settle():
            assert self.lane is not None
            if finished := self.lane.step(self.version):
                fields = [(self.number.pop(id(each.request)), without_request(each)) for each in finished]
                self.conversation.send(Written(fields, self.new_tokens()))

    def _settle(self) -> bool:
        """Waits for what must be settled before the next step; False at the end of the stream."""
        while self.lane is None or self.lane.overdue or not self.lane.busy:
            message = self.heard.popleft() if self.heard else self.conversation.recv()
            if message == END:
                return False
            self._take(message)
        while self.conversation.poll():
            message = self.conversation.recv()
            if message == END:
                return False
            self.heard.append(message)
        return True

    def _take(self, further: Further) -> None:
        self.version = further.version
        for place, request in enumerate(further.requests):
            self.number[id(request)] = further.first + place
        if self.lane is None:
            begin, words = self.begin, self.writer.detokenizer
            self.lane = Lane.of(
                further.requests, further.most, begin.settles, begin.settings, self._slots_for, words
            )
        else:
            self.lane.settle(further.count, further.requests, further.most)

    def _slots_for(self, places: int) -> DecoderSlots:
        kept, self.writer.kept = self.writer.kept, None
        self.slots = renewed(kept, self.writer.decoder, places, self.begin.settings.fixed)
        return self.slots

    def new_tokens(self) -> int:
        """Computed since this was last asked."""
        if self.lane is None:
            return 0
        before, self.counted = self.counted, self.lane.scheduler.computed_tokens
        return self.counted - before


def without_request(completion: Completion) -> dict[str, Any]:
    return {name: value for name, value in vars(completion).items() if name != "request"}
