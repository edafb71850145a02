"""Worker processes that write a part of each call's completions, beside the sampler's own process.

Two samplers in threads of one process would wait for each other's Python code; two processes do not.
"""

import os
import pickle
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from queue import SimpleQueue

from torch import nn

from menon.engines.decoder import Decoder
from menon.engines.decoding.scheduler import Job, Voice
from menon.engines.sampler_process import COMPLETIONS, FORGET, REQUESTS, STOP, STOPPED, Answers
from menon.engines.shared_weights import SharedWeights
from menon.errors import UserError
from menon.processes.wire import Closed, Message
from menon.processes.worker import Ended, Inbox, Spawn, Worker
from menon.types import Completion, Request

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class WorkerSamplers:
    """`count` worker processes that share the memory of the model's parameters, which move there.

    `answer` is a whole call of a sampler. Its parts also work alone, in any order: `ask` sends more requests,
    also while others are being written; `take` returns completions as they finish; `stop` drops the requests
    that are not answered.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        """Starts them. They import their libraries while this process goes on."""
        self.parameters = list(model.parameters())
        self.weights = SharedWeights.of(self.parameters)
        self.inbox: Inbox[int] = SimpleQueue()
        """Messages of all workers, each with its worker's index."""
        launch = Spawn("menon.engines.sampler_process:SamplerHandler", environment=ONE_THREAD)
        self.workers = [Worker(launch) for _ in range(count)]
        self.close = weakref.finalize(self, close_workers, self.workers, self.weights)
        for index, worker in enumerate(self.workers):
            worker.start()
            worker.listen(self.inbox, index)
            with suppress(Closed):  # it has died; the first call reports that
                worker.connection.send_descriptors(self.weights.descriptor)
        self.num_asked = 0
        """Requests so far; each gets the next number."""
        self.unanswered: list[dict[int, Request]] = [{} for _ in self.workers]
        """For each worker, number -> request."""
        self.seats: dict[int, int] | None = None
        """While finished prefixes are held: prompt -> the process that holds its prefixes (0: this one)."""
        self.computed_tokens = 0
        """By all workers, in all calls so far."""
        self.busy = False
        """Whether a call of `answer` is under way. There can be one, because it takes every worker's
        messages."""

    def introduce(self, decoder: Decoder, voice: Voice) -> None:
        """Sends the network, before any requests."""
        data = self.weights.dumps((decoder, voice))
        for index in range(len(self.workers)):
            self._send(index, "network", body=data)

    def hold(self, on: bool) -> None:
        """Whether workers keep the keys and values of finished sequences for later requests."""
        self.seats = {} if on else None
        if not on and not self.busy:
            self._forget()

    def deal(self, requests: Sequence[Request]) -> list[list[Request]]:
        """This process's part, and one for each worker."""
        return deal(requests, len(self.workers) + 1, self.seats)

    def answer(self, jobs: Sequence[Job], own: Iterator[Completion]) -> Iterator[Completion]:
        """Completions of `own`, this process's part, and between them those of the workers, one job for each.
        UserError if a worker fails or dies."""
        self.ask(jobs)
        self.busy = True
        try:
            for completion in own:
                yield completion
                while not self.inbox.empty():
                    yield from self.take()
            while any(self.unanswered):
                yield from self.take()
        except (GeneratorExit, UserError):
            self.stop()
            raise
        except BaseException:
            self.close()  # a message may have been sent or taken in part
            raise
        finally:
            self.busy = False
            if self.seats is None and self.close.alive:
                self._forget()  # a `holding` may have ended meanwhile

    def ask(self, jobs: Sequence[Job]) -> None:
        """Sends more requests, one job for each worker. If one cannot be pickled, that is raised before any
        is sent."""
        if any(self.weights.place(parameter) is None for parameter in self.parameters):
            raise UserError(
                "the sampler's weights were replaced and not changed in place, so its processes do not see "
                "the new ones; make a new sampler"
            )
        data = [pickle.dumps(bare(job)) for job in jobs]
        try:
            for index, job in enumerate(jobs):
                if job.requests:
                    first, self.num_asked = self.num_asked, self.num_asked + len(job.requests)
                    self.unanswered[index].update(enumerate(job.requests, first))
                    self._send(index, REQUESTS, first, body=data[index])
        except BaseException:
            self.close()  # as in `answer`
            raise

    def take(self) -> list[Completion]:
        """Waits for the next message of any worker and returns the completions in it. UserError if a worker
        fails or dies."""
        index, message = self.inbox.get()
        if isinstance(message, Message):
            name, tokens = message.data
            self.computed_tokens += tokens
            answers: Answers = pickle.loads(message.body) if name == COMPLETIONS else []
            return [Completion(self.unanswered[index].pop(number), **fields) for number, fields in answers]
        self.unanswered[index].clear()
        if message is None:
            how = f"has ended ({self.workers[index].ended().words})"
        elif message.kind == "UserError":
            raise UserError(message.text)
        else:
            how = f"has failed ({message})"
        raise UserError(
            f"a process that writes answers {how}; if memory ran out lower slots or max_new_tokens, or start "
            "with threads=1"
        )

    def stop(self) -> None:
        """Drops the requests that are not answered, and waits until their workers confirm it."""
        waiting = {index for index, requests in enumerate(self.unanswered) if requests}
        for index in waiting:
            self.unanswered[index].clear()
            self._send(index, STOP)
        while waiting:
            index, message = self.inbox.get()
            if isinstance(message, Message):
                self.computed_tokens += message.data[1]
            if message is None or (isinstance(message, Message) and message.data[0] == STOPPED):
                waiting.discard(index)

    def _forget(self) -> None:
        for index in range(len(self.workers)):
            self._send(index, FORGET)

    def _send(self, index: int, *data: str | int, body: bytes = b"") -> None:
        try:
            self.workers[index].send(data, body)
        except Ended:
            self.inbox.put((index, None))


def close_workers(workers: Sequence[Worker], weights: SharedWeights) -> None:
    for worker in workers:
        worker.close()
    os.close(weights.descriptor)


def deal(requests: Sequence[Request], count: int, seats: dict[int, int] | None) -> list[list[Request]]:
    """Equal parts, in which requests of one prompt are neighbours; with `seats`, all of a prompt go to the
    same process in every call."""
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
    """The job without what only this process needs: texts and columns of the questions."""
    given = {id(request.prompt): request.prompt for request in job.requests}
    prompts = {name: replace(prompt, text="", answer=None, columns={}) for name, prompt in given.items()}
    return replace(
        job, requests=[replace(request, prompt=prompts[id(request.prompt)]) for request in job.requests]
    )
