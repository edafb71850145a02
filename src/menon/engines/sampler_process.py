"""A worker process that writes a part of each stream's completions, with one thread. It maps the learner's
weights from shared memory instead of holding a copy."""

import pickle
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from menon.engines.decoder import Decoder
from menon.engines.decoding.decoder_slots import DecoderSlots, renewed
from menon.engines.decoding.lane import Lane
from menon.engines.decoding.settings import Settings
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.processes.wire import Connection, RemoteError
from menon.types import Completion, Request

BEGIN, FURTHER, END = "begin", "further", "end"
"""Messages to a worker: the first of a stream, with a pickled `Begin`; requests, with a pickled `Further`;
the last one, which a worker answers with ENDED."""
WRITTEN, ENDED = "written", "ended"
"""Messages from a worker, with a pickled `Written`. None of a stream follows after ENDED."""


@dataclass(frozen=True)
class Begin:
    """The first message of a stream; requests follow."""

    settings: Settings
    settles: bool


@dataclass(frozen=True)
class Further:
    """Requests that follow from the next `count` completions of this process; 0: from none."""

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
    """Tokens computed since the last message."""


class SamplerHandler:
    """The handler of a worker. It first receives the descriptor of the shared weights and the network that
    uses them, with its detokenizer; then it serves streams."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.kept: DecoderSlots | None = None

    def __call__(self, connection: Connection) -> None:
        self.connection = connection
        weights = SharedWeights(*connection.receive_descriptors(1))
        self.decoder: Decoder
        self.detokenizer: Detokenizer
        self.decoder, self.detokenizer = weights.loads(connection.receive().body)
        while True:
            self.write(pickle.loads(connection.receive().body))

    def write(self, begin: Begin) -> None:
        """Writes this process's part of one stream, to its end."""
        part = Part(self, begin)
        try:
            part.run()
        except UserError as error:
            self.connection.write(RemoteError.of(error).encode())
            while self.connection.receive().data[0] != END:
                pass
            part.slots = None  # after an error its NaNs must not reach a later stream
        self.kept = part.slots
        if self.kept is not None and self.kept.cache.nbytes > begin.settings.kept_bytes:
            self.kept = None
        self.connection.send([ENDED], pickle.dumps(Written([], part.new_tokens())))


class Part:
    """This process's part of a stream."""

    def __init__(self, handler: SamplerHandler, begin: Begin) -> None:
        self.handler, self.begin = handler, begin
        self.connection = handler.connection
        self.heard: deque[Further] = deque()
        """Messages that have arrived and are not due yet."""
        self.number: dict[int, int] = {}
        """id of a request that is being written -> its number in the stream."""
        self.lane: Lane | None = None
        self.slots: DecoderSlots | None = None
        self.version = self.counted = 0

    def run(self) -> None:
        """Sends completions as they finish, until the message that ends the stream."""
        while self._settle():
            assert self.lane is not None
            if finished := self.lane.step(self.version):
                fields = [(self.number.pop(id(each.request)), without_request(each)) for each in finished]
                self.connection.send([WRITTEN], pickle.dumps(Written(fields, self.new_tokens())))

    def _settle(self) -> bool:
        """Waits for the messages that must be settled before the next step; False at the end of the
        stream."""
        while self.lane is None or self.lane.overdue or not self.lane.busy:
            if (further := self.heard.popleft() if self.heard else self._receive()) is None:
                return False
            self._take(further)
        while self.connection.waiting():
            if (further := self._receive()) is None:
                return False
            self.heard.append(further)
        return True

    def _receive(self) -> Further | None:
        """The next message; None is the end of the stream."""
        (name,), body = self.connection.receive()
        return None if name == END else pickle.loads(body)

    def _take(self, further: Further) -> None:
        self.version = further.version
        for place, request in enumerate(further.requests):
            self.number[id(request)] = further.first + place
        if self.lane is None:
            begin, words = self.begin, self.handler.detokenizer
            self.lane = Lane.of(
                further.requests, further.most, begin.settles, begin.settings, self._slots_for, words
            )
        else:
            self.lane.settle(further.count, further.requests, further.most)

    def _slots_for(self, places: int) -> DecoderSlots:
        kept, self.handler.kept = self.handler.kept, None
        self.slots = renewed(kept, self.handler.decoder, places, self.begin.settings.fixed)
        return self.slots

    def new_tokens(self) -> int:
        """The number of tokens computed since the last call."""
        if self.lane is None:
            return 0
        before, self.counted = self.counted, self.lane.scheduler.computed_tokens
        return self.counted - before


def without_request(completion: Completion) -> dict[str, Any]:
    return {name: value for name, value in vars(completion).items() if name != "request"}
