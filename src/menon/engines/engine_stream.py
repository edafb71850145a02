"""A stream of an `EngineSampler`: requests with their seeds, and completions of the engine's answers."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from queue import Empty
from typing import Any, Protocol

import numpy as np

from menon.engines.asking import Asking
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.engine_wire import ABORT, Answer, Asked, pack_asked
from menon.engines.request_checks import Check
from menon.errors import UserError
from menon.processes.idle import Idle
from menon.processes.worker import Worker
from menon.types import Completion, Request

BEAT = 5.0
"""Seconds after which a stream looks whether the engine's process still computes."""


class Owner(Protocol):
    """What a stream uses of its sampler (`engine_sampler.EngineSampler` says what each does)."""

    seed: int
    worker: Worker
    check: Check
    detokenizer: Detokenizer
    numbers: "count[int]"
    streams: "dict[int, EngineStream]"

    def send(self, data: list[Any], body: bytes = b"") -> None: ...
    def owes(self) -> None: ...


class EngineStream(Asking[Answer]):
    """See `rollout.protocols.Stream`. All requests of a sequence are checked before any of them is sent."""

    def __init__(self, sampler: Owner) -> None:
        super().__init__()
        self.sampler = sampler
        self.requests: dict[int, Request] = {}
        """Requests without an answer, by number."""

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._forget()

    def __iter__(self) -> Iterator[Completion]:
        idle = Idle()
        while self.requests or self.late:
            try:
                event = self.events.get(timeout=BEAT)
            except Empty:
                pid = self.sampler.worker.pid
                if pid and self.requests and idle.too_long(pid):
                    self.sampler.worker.kill()
                continue
            if isinstance(event, BaseException):
                raise event
            if event is None:
                self.late -= 1
            else:
                yield self.completion(event)

    def stopped(self) -> list[Completion]:
        """Ends all requests, and returns what is written of those without an answer (`finish` is abort where
        it is a part)."""
        self.sampler.send([ABORT, list(self.requests)])
        return list(self)

    def completion(self, answer: Answer) -> Completion:
        request = self.requests.pop(answer.number)
        tokens = [*map(int, request.prefix), *answer.tokens.tolist()]
        return Completion(
            request=request,
            tokens=answer.tokens,
            logp=answer.logp,
            log_kept=None,
            entropy=None,
            version=answer.version,
            finish=answer.finish,
            text=self.sampler.detokenizer.text(tokens),
        )

    def send(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self.sampler.check(request)
        numbered = {next(self.sampler.numbers): request for request in requests}
        self.requests |= numbered
        self.sampler.streams |= dict.fromkeys(numbered, self)
        self.sampler.owes()
        self.sampler.send(*pack_asked([asked(n, r, self.sampler.seed) for n, r in numbered.items()]))

    def _forget(self) -> None:
        for number in self.requests:
            self.sampler.streams.pop(number, None)
        self.sampler.owes()
        if self.requests:
            with suppress(UserError):  # it has failed: there is nothing to abort
                self.sampler.send([ABORT, list(self.requests)])
        self.requests = {}


def asked(number: int, request: Request, seed: int) -> Asked:
    sampling = request.sampling
    return Asked(
        number=number,
        seed=seed_of(request, seed),
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        stop=tuple(sampling.stop),
        prefix=len(request.prefix),
        tokens=np.concatenate([request.prompt.tokens, request.prefix]).astype(np.int32),
    )


def seed_of(request: Request, seed: int) -> int:
    """The seed of a request's random stream: its name, hashed. Where an answer goes on after a prefix, the
    position is a part of the name, so that it does not draw its first numbers again."""
    name = (
        seed if request.seed is None else request.seed,
        request.purpose,
        request.visit,
        request.prompt.index,
        request.sample,
        request.path,
        len(request.prefix),
    )
    return int.from_bytes(hashlib.blake2b(repr(name).encode(), digest_size=8).digest(), "big") >> 1
