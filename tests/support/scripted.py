"""Samplers that write what a test tells them to."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np

from menon.parts import Around, built
from menon.rollout.protocols import OPTIONAL, Sampler, Stream
from menon.types import Completion, Prompt, Request, Rollout, Sampling, Verdict

Script = Callable[[Request], str]
"""The new text of a request, without its prefix."""


class RoundSampler:
    """A `Sampler` whose streams write round by round: all that was asked, then all that was asked meanwhile.
    A test's own sampler has `write`."""

    version = 0
    gives = OPTIONAL

    def write(self, requests: list[Request]) -> Iterator[Completion]:
        """The completions of one round."""
        raise NotImplementedError

    def open(self, keep: bool = False) -> "RoundStream":
        return RoundStream(self)


class RoundStream:
    def __init__(self, sampler: RoundSampler) -> None:
        self.sampler = sampler
        self.asked: list[Iterable[Request]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def ask(self, requests: Iterable[Request]) -> None:
        self.asked.append(requests)

    def __iter__(self) -> Iterator[Completion]:
        while self.asked:
            requests = [request for asked in self.asked for request in asked]
            self.asked = []
            yield from self.sampler.write(requests)


def written_by(sampler: Sampler, requests: Iterable[Request]) -> list[Completion]:
    """The completions of a stream of its own."""
    return list(begun(sampler, requests))


def begun(sampler: Sampler, requests: Iterable[Request]) -> Iterator[Completion]:
    """The same, one after another."""
    with sampler.open() as stream:
        stream.ask(list(requests))
        yield from stream


def answered(stream: Stream, requests: Iterable[Request]) -> list[Completion]:
    """The completions of an open stream."""
    stream.ask(list(requests))
    return list(stream)


class ScriptedSampler(RoundSampler):
    """One token per character (its code point) and an end token 0; answers finish in the reverse order of the
    requests."""

    def __init__(self, script: Script, version: int = 0) -> None:
        self.script = script
        self.version = version
        self.asked: list[Request] = []

    def write(self, requests: list[Request]) -> Iterator[Completion]:
        self.asked += requests
        for request in reversed(requests):
            yield complete(request, self.script(request), self.version)


def complete(request: Request, text: str, version: int = 0) -> Completion:
    """A `stop` if the end token still fits into `max_new_tokens`, else cut there with finish `length`."""
    room = request.sampling.max_new_tokens
    letters = [ord(letter) for letter in text]
    tokens = np.array([*letters, 0][:room], dtype=np.int32)
    whole = [*request.prefix.tolist(), *letters[:room]]
    zeros = np.zeros(len(tokens), dtype=np.float32)
    return Completion(
        request=request,
        tokens=tokens,
        logp=zeros - 1,
        log_kept=zeros,
        entropy=zeros + 0.5,
        version=np.full(len(tokens), version, dtype=np.int32),
        finish="stop" if len(letters) < room else "length",
        text="".join(chr(letter) for letter in whole if letter),
    )


def question(index: int, text: str = "", answer: str | None = "7") -> Prompt:
    """A prompt of one token per character."""
    text = text or f"q{index}="
    return Prompt(
        index=index,
        tokens=np.array([ord(letter) for letter in text], dtype=np.int32),
        text=text,
        answer=answer,
    )


class Queue:
    """Prompts 0, 1, 2, ... without end, visited once."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        self.taken += count
        return [(question(index), 0) for index in range(self.taken - count, self.taken)]

    def state(self) -> dict[str, int]:
        return {"taken": self.taken}

    def load(self, state: dict[str, int]) -> None:
        self.taken = state["taken"]


def is_gold(rollout: Rollout) -> Verdict:
    """1 where the whole answer text is the gold answer."""
    right = float(rollout.text == rollout.prompt.answer)
    return Verdict(right, right)


class Bound:
    """A rollout in a step of one size: `(prompts, sampler, grade[, state]) -> graded, metrics[, state]`."""

    def __init__(
        self,
        rollout: Any,
        prompts: int = 1,
        samples: int = 1,
        sampling: Sampling = Sampling(),  # noqa: B008
        **settings: Any,
    ) -> None:
        self.around = Around(prompts, samples, sampling, **settings)
        self.rollout = built(rollout, self.around)
        if hasattr(rollout, "check"):
            rollout.check("rollout", self.around)

    def init(self) -> Any:
        return self.rollout.init()

    def __call__(self, prompts: Any, sampler: Any, grade: Any, *state: Any) -> Any:
        found = self.rollout(prompts, sampler, grade, self.around, *state)
        return (list(found.graded), found.metrics, found.state)[: 3 if state else 2]
