"""Worker processes that write parts of each stream's completions; they are started and ended with their
sampler.  They are processes because two samplers in threads of one process would wait for each other's Python
code.
"""

import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from torch import nn

from menon.engines.decoder import Decoder
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.processes.idle import Idle
from menon.processes.wire import Closed
from menon.processes.worker import Ended, Spawn, Worker

BEAT = 5.0
"""Seconds after which it is looked whether the processes still compute."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class WorkerSamplers:
    """`count` worker processes. The model's parameters are moved into memory that they share."""

    def __init__(self, model: nn.Module, count: int) -> None:
        """Starts the processes. They import their libraries while this process goes on."""
        self.parameters = list(model.parameters())
        self.weights = SharedWeights.of(self.parameters)
        self.inbox: SimpleQueue[tuple[tuple[int, int | None], Any]] = SimpleQueue()
        """Index and life of a worker, and its message, or None once it has ended; without a life, what its
        lane has put (`WorkerLane.settle`)."""
        launch = Spawn("menon.engines.sampler_process:SamplerHandler", environment=ONE_THREAD)
        self.workers = [Worker(launch) for _ in range(count)]
        self.lives = [0] * count
        """How often each has been started again."""
        self.network = b""
        self.close = weakref.finalize(self, close_workers, self.workers, self.weights)
        for index in range(count):
            self._start(index)
        self.busy = False
        """Whether a stream uses the processes; a second stream cannot use them at the same time."""

    def _start(self, index: int) -> None:
        worker = self.workers[index]
        worker.start()
        worker.listen(self.inbox, (index, self.lives[index]))
        with suppress(Closed):  # it has died; the first stream reports that
            worker.connection.send_descriptors(self.weights.descriptor)

    def start_again(self, index: int) -> None:
        """Starts a process in place of one that has ended, with the network."""
        self.workers[index].close()
        self.lives[index] += 1
        self._start(index)
        self.send(index, "network", self.network)

    def introduce(self, decoder: Decoder, detokenizer: Detokenizer) -> None:
        """Sends the network, before any requests."""
        self.network = self.weights.dumps((decoder, detokenizer))
        for index in range(len(self.workers)):
            self.send(index, "network", self.network)

    def send(self, index: int, name: str, body: bytes = b"") -> None:
        try:
            self.workers[index].send([name], body)
        except Ended:
            self.inbox.put(((index, self.lives[index]), None))

    def put(self, index: int, message: Any) -> None:
        """Puts a message of this process about a worker into the inbox; it counts also if another process
        takes the worker's place."""
        self.inbox.put(((index, None), message))

    def hear(self, waits_for: Callable[[int], bool]) -> tuple[int, Any]:
        """The next message, with the index of its worker. None stands for a process that has ended, and for
        one that is owed something by `waits_for`, and has not computed for `SILENT` seconds: it is stopped,
        or hangs."""
        idle = Idle()
        while True:
            with suppress(Empty):
                (index, life), message = self.inbox.get(timeout=BEAT)
                if life in (None, self.lives[index]):  # not of a process that was replaced
                    return index, message
                continue
            for index, worker in enumerate(self.workers):
                if worker.pid and waits_for(index) and idle.too_long(worker.pid):
                    worker.kill()

    def check(self) -> None:
        """UserError if the processes would not see the current weights."""
        if any(self.weights.place(parameter) is None for parameter in self.parameters):
            raise UserError(
                "the sampler's weights were replaced and not changed in place, so its processes do not see "
                "the new ones; make a new sampler"
            )


def close_workers(workers: Sequence[Worker], weights: SharedWeights) -> None:
    for worker in workers:
        worker.close()
    os.close(weights.descriptor)
