"""Law 7 for requests that follow from completions: when environments answer, and which process is faster,
changes no bit. And law 3: texts and numbers are those of one round after another."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.decoding.torch_stream import TorchStream
from menon.errors import UserError
from menon.rollout.trees import Trees
from menon.rollout.turns import Turns
from menon.types import Completion, Graded, Request, Rollout, Sampling, Verdict
from scripted import Bound, RoundSampler, answered

V = 40
COLUMNS = ("tokens", "is_action", "logp", "log_kept", "entropy")


@dataclass
class Delayed:
    """Ends a turn at each of some letters; answers at once, or after a random while."""

    most_seconds: float = 0.0
    stop: ClassVar[tuple[str, ...]] = tuple("0123456789abc")

    def reset(self, prompt, seed):
        return ""

    def step(self, text):
        if self.most_seconds:
            time.sleep(random.uniform(0, self.most_seconds))
        return f"={len(text) % 7}.", 0.0, not text.endswith(self.stop)


class Rounds(RoundSampler):
    """A sampler that is asked for whatever follows only when all of a round is written."""

    def __init__(self, sampler: TorchSampler) -> None:
        self.sampler = sampler
        self.stream: TorchStream | None = None

    def write(self, requests: list[Request]) -> Iterator[Completion]:
        self.stream = self.stream or self.sampler.open(keep=True)
        yield from answered(self.stream, requests)


def nothing(rollout: Rollout) -> Verdict:
    return Verdict(1.0, 1.0)


def sampler_of(processes: int = 1, fixed_slots: bool = False) -> TorchSampler:
    return TorchSampler(
        tiny_model(vocab=V), tiny_tokenizer(V), slots=9, processes=processes, fixed_slots=fixed_slots
    )


def in_turns(sampler: TorchSampler | Rounds, most_seconds: float = 0.0) -> list[Graded]:
    tokenizer = tiny_tokenizer(V)
    turns = Turns(
        Delayed(most_seconds),
        lambda text, before: tokenizer.encode(text, add_special_tokens=False),
        lambda tokens: tokenizer.decode(tokens, skip_special_tokens=True),
    )
    prompts = [prompt(i, range(1, length), vocab=V) for i, length in enumerate((3, 12, 2, 7))]
    asked = [Request(p, Sampling(40, temperature=0.8), sample) for p in prompts for sample in range(5)]
    return turns(asked, range(len(asked)), sampler, nothing)


def grown(sampler: TorchSampler | Rounds) -> list[Graded]:
    class Three:
        def take(self, count):
            return [(prompt(i, [i + 1, 2, 3], vocab=V), 0) for i in range(count)]

    trees = Bound(Trees((3, 2, 2), (4,)), 3, 1, Sampling(14))
    return trees(Three(), sampler, nothing, trees.init())[0]


def bits(graded: list[Graded]) -> list[tuple[bytes, ...]]:
    return [tuple(getattr(g.rollout, name).tobytes() for name in COLUMNS) for g in graded]


@pytest.mark.parametrize("processes", [1, 2])
def test_environments_that_take_their_time_change_no_bit(processes):
    sampler = sampler_of(processes)
    at_once = in_turns(sampler)
    assert max(g.verdict.parts["turns"] for g in at_once) > 3
    want = bits(at_once)
    for most_seconds in (0.002, 0.02):
        assert bits(in_turns(sampler, most_seconds)) == want
    sampler.close()


def test_a_process_that_is_slow_changes_no_bit():
    """This process dawdles after some of its steps, so the other one is ahead, or not."""
    sampler = sampler_of(2)
    turns, trees = bits(in_turns(sampler)), bits(grown(sampler))
    step = TorchStream._step

    def slow(self, own):
        time.sleep(random.choice((0, 0, 0.01)))
        return step(self, own)

    TorchStream._step = slow  # type: ignore[method-assign]
    try:
        assert bits(in_turns(sampler)) == turns
        assert bits(grown(sampler)) == trees
    finally:
        TorchStream._step = step  # type: ignore[method-assign]
        sampler.close()


@pytest.mark.parametrize("write", [in_turns, grown])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_as_round_by_round(write, processes):
    """To the last bit with fixed slots, and within the bounds of law 3 without."""
    for fixed_slots in (True, False):
        rounds = write(Rounds(sampler_of(1, fixed_slots)))
        sampler = sampler_of(processes, fixed_slots)
        stream = write(sampler)
        sampler.close()
        if fixed_slots:
            assert bits(stream) == bits(rounds)
        for a, b in zip(stream, rounds, strict=True):
            assert (a.rollout.tokens.tolist(), a.rollout.text) == (b.rollout.tokens.tolist(), b.rollout.text)
            np.testing.assert_allclose(a.rollout.logp, b.rollout.logp, atol=1e-4)
        apart = np.concatenate(
            [np.abs(a.rollout.logp - b.rollout.logp) for a, b in zip(stream, rounds, strict=True)]
        )
        assert apart.mean() < 1e-6


def test_what_follows_from_a_turn_is_written_beside_the_turns_of_others():
    """Fewer decoding steps than round by round."""

    def steps(sampler: TorchSampler | Rounds, own: TorchSampler) -> int:
        count = 0
        decode = own.slots_for

        def counting(places: int):
            slots = decode(places)
            inner = slots.decode

            def one(token, position):
                nonlocal count
                count += 1
                return inner(token, position)

            slots.decode = one
            return slots

        own.slots_for = counting  # type: ignore[method-assign]
        in_turns(sampler)
        return count

    together, apart = sampler_of(), sampler_of()
    assert steps(together, together) < steps(Rounds(apart), apart)


def test_a_request_that_does_not_fit_is_refused_when_it_is_read():
    sampler = sampler_of(2)
    long = Request(prompt(0, [1], vocab=V), Sampling(500))

    def late(request: Request) -> Iterator[Request]:
        yield replace(request, path=(1,))
        yield long

    def write() -> None:
        with sampler.open(keep=True) as stream:
            stream.ask([Request(prompt(i, [1, 2], vocab=V), Sampling(4)) for i in range(4)])
            for completion in stream:
                stream.ask(late(completion.request))

    with pytest.raises(UserError, match="lower max_new_tokens"):
        write()
    assert len(in_turns(sampler)) == 20  # and its processes go on
    sampler.close()
