"""Sequences that go on from finished ones: what they cost, and that they are the same as without what was
kept."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import Kind, prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.rollout.protocols import Stream
from menon.types import Completion, Request, Sampling, Tokens
from scripted import answered

V = 40


def sampler_of(kind: Kind = "qwen3", slots: int = 4) -> TorchSampler:
    sampler = TorchSampler(tiny_model(kind, vocab=V), tiny_tokenizer(V), seed=5, slots=slots)
    sampler.end_tokens = np.array([-1])
    return sampler


def answers(stream: Stream, requests: list[Request]) -> list[Completion]:
    found = {(c.request.prompt.index, c.request.path): c for c in answered(stream, requests)}
    return [found[request.prompt.index, request.path] for request in requests]


def alone(sampler: TorchSampler, requests: list[Request]) -> list[Completion]:
    """On a stream of its own, which keeps nothing."""
    with sampler.open() as stream:
        return answers(stream, requests)


def parents(count: int = 3) -> list[Request]:
    return [
        Request(prompt(i, range(i + 1, 2 * i + 4), vocab=V), Sampling(max_new_tokens=8 + i), path=(i,))
        for i in range(count)
    ]


def child(parent: Completion, prefix: Tokens, number: int) -> Request:
    path = (*parent.request.path, number)
    return replace(parent.request, prefix=prefix, path=path, sampling=Sampling(max_new_tokens=5))


def children(whole: list[Completion]) -> list[Request]:
    """Of each: two that go on from all of it, one from a part, one from all of it and three tokens more."""
    found = []
    for parent in whole:
        more = np.concatenate([parent.tokens, np.array([7, 8, 9], dtype=np.int32)])
        for number, prefix in enumerate((parent.tokens, parent.tokens, parent.tokens[:4], more)):
            found.append(child(parent, prefix, number))
    return found


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "gpt2"])
def test_children_are_the_same_with_and_without(kind):
    plain, keeping = sampler_of(kind), sampler_of(kind)
    roots = alone(plain, parents())
    want = alone(plain, children(roots))
    with keeping.open(keep=True) as stream:
        assert [c.tokens.tolist() for c in answers(stream, parents())] == [c.tokens.tolist() for c in roots]
        got = answers(stream, children(roots))
        third = answers(stream, [child(c, np.concatenate([c.request.prefix, c.tokens]), 0) for c in got])
    assert all(len(c.tokens) == 5 for c in third)
    for a, b in zip(got, want, strict=True):
        assert a.tokens.tolist() == b.tokens.tolist()
        np.testing.assert_allclose(a.logp, b.logp, atol=2e-5)
        np.testing.assert_allclose(a.entropy, b.entropy, atol=2e-5)


def test_a_child_computes_only_what_is_new():
    sampler = sampler_of()
    with sampler.open(keep=True) as stream:
        roots = answers(stream, parents())
        before = sampler.computed_tokens
        answers(stream, children(roots))
        # Each of 12 children feeds the last token of its beginning and four of its own; three of them,
        # besides, the three that stand between: the last of the parent and two of the three new ones.
        assert sampler.computed_tokens - before == 12 * 5 + 3 * 3
        # And again, from what the children left.
        assert answers(stream, children(roots)[:1])[0].tokens.tolist()
    before = sampler.computed_tokens
    alone(sampler, children(roots)[:1])
    assert (
        sampler.computed_tokens - before == len(roots[0].request.prompt.tokens) + len(roots[0].tokens) + 4
    )  # nothing is left


def test_new_weights_make_old_states_worthless():
    sampler = sampler_of()
    with sampler.open(keep=True) as stream:
        roots = answers(stream, parents(1))
        with_old = answers(stream, children(roots)[:1])
        for weight in sampler.weights().values():
            weight.data.mul_(0.7)
        sampler.version += 1
        got = answers(stream, children(roots))
    fresh = alone(sampler, children(roots))
    for a, b in zip(got, fresh, strict=True):
        np.testing.assert_allclose(a.logp, b.logp, atol=2e-5)
    assert np.abs(with_old[0].entropy - fresh[0].entropy).max() > 1e-3


def test_what_two_weights_have_written_is_not_kept():
    sampler = sampler_of()
    with sampler.open(keep=True) as stream:
        stream.ask(parents(2))
        writing = iter(stream)
        next(writing)  # the first one, of eight tokens; the other is to write a ninth
        for weight in sampler.weights().values():
            weight.data.mul_(0.7)
        sampler.version += 1
        (mixed,) = writing
        assert set(mixed.version.tolist()) == {0, 1}
        got = answers(stream, children([mixed])[:1])
    fresh = alone(sampler, children([mixed])[:1])
    np.testing.assert_allclose(got[0].logp, fresh[0].logp, atol=2e-5)


def test_what_nothing_goes_on_from_is_not_kept():
    sampler = sampler_of()
    with sampler.open(keep=True) as stream:
        (root,) = answers(stream, [replace(parents(1)[0], last=True)])
        before = sampler.computed_tokens
        answers(stream, children([root])[:1])
        assert sampler.computed_tokens - before == len(root.request.prompt.tokens) + len(root.tokens) + 4


def test_children_are_asked_while_others_are_written():
    """As many texts and numbers as level by level, in fewer decoding steps, and nothing is computed twice."""
    sampler, steps = sampler_of(slots=16), []
    with sampler.open(keep=True) as stream:
        roots = answers(stream, parents())
        levels = answers(stream, children(roots))
    computed = sampler.computed_tokens
    found = {}
    with sampler.open(keep=True) as stream:
        stream.ask(parents())
        for completion in stream:
            found[completion.request.prompt.index, completion.request.path] = completion
            steps.append(len(completion.tokens))
            if len(completion.request.path) == 1:
                stream.ask(children([completion]))
    assert sampler.computed_tokens == 2 * computed
    # The first parent ends first, so its children are finished before the last parent's.
    assert steps[:3] == [8, 9, 10]
    for want in (*roots, *levels):
        got = found[want.request.prompt.index, want.request.path]
        assert got.tokens.tolist() == want.tokens.tolist()
        np.testing.assert_allclose(got.logp, want.logp, atol=2e-5)
