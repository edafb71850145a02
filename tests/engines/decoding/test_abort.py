"""Writing that is ended early and goes on: the same text, and log-probs of the weights that drew a token."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.parts import Around
from menon.rollout.groups import Groups
from menon.rollout.pieces import GroupsInPieces
from menon.rollout.protocols import Aborts
from menon.types import Completion, Graded, Request, Sampling, Verdict
from scripted import written_by

V = 40
SAMPLING = Sampling(max_new_tokens=24, temperature=1.3)
PROMPTS = [prompt(i, f"{i}+{i + 1}=", "7", V) for i in range(3)]


def never(rollout):
    return Verdict(0.0, 0.0)


def begun() -> GroupsInPieces:
    class Three:
        def take(self, count):
            return [(one, 0) for one in PROMPTS[:count]]

    return Groups().begin(Three(), never, Around(3, 4, SAMPLING))  # type: ignore[arg-type]


def write(sampler: TorchSampler, unfinished: GroupsInPieces, completions: int | None) -> None:
    """Writes on; aborts once so many completions have come."""
    with sampler.open() as stream:
        assert isinstance(stream, Aborts)
        stream.ask(unfinished.requests())
        if completions == 0:
            stream.abort()
        for count, completion in enumerate(stream, start=1):
            unfinished.take(completion)
            if count == completions:
                stream.abort()


def sampler_of(seed: int = 0, **settings) -> TorchSampler:
    return TorchSampler(tiny_model(vocab=V, seed=seed), tiny_tokenizer(V), seed=5, **settings)


def by_place(completions: list[Completion]) -> list[Completion]:
    return sorted(completions, key=lambda c: (c.request.prompt.index, c.request.sample))


@pytest.mark.parametrize("slots", [4, 64])
def test_the_text_does_not_depend_on_when_it_was_ended_and_went_on(slots):
    """By the same weights: aborted before the first token, twice in the middle, with requests that had no
    slot yet (12 requests in 4 slots)."""
    whole = by_place(written_by(sampler_of(), [Request(p, SAMPLING, s) for p in PROMPTS for s in range(4)]))
    sampler, unfinished = sampler_of(slots=slots, alternatives=3), begun()
    assert len({len(one.tokens) for one in whole}) > 2
    for completions in (0, 1, 3, None):
        write(sampler, unfinished, completions)
    assert (unfinished.finished, unfinished.groups) == (3, 3)
    found = unfinished.collected().graded
    for answer, one in zip(found, whole, strict=True):
        rollout = answer.rollout
        assert rollout.tokens[rollout.is_action].tolist() == one.tokens.tolist()
        assert (rollout.text, rollout.finish) == (one.text, one.finish)
        assert np.abs(rollout.logp[rollout.is_action] - one.logp).max() < 1e-5
        assert rollout.alternatives is not None
        assert rollout.alternatives.shape == (len(rollout.tokens), 3)
    assert max(unfinished.lengths) == 24
    assert unfinished.computed_again > 0


def test_each_token_has_the_log_prob_that_its_own_weights_give_it_after_all_the_text_before():
    """Two models take turns, as if weights were published: no token was drawn from the keys and values of
    the other one."""
    samplers = [sampler_of(seed) for seed in (0, 1)]
    unfinished = begun()
    for version, sampler in enumerate(samplers):
        sampler.version = version
    write(samplers[0], unfinished, 2)
    write(samplers[1], unfinished, None)
    answers: list[Graded] = list(unfinished.collected().graded)
    mixed = [a for a in answers if len(set(a.rollout.version[a.rollout.is_action].tolist())) == 2]
    assert len(mixed) > 3
    for answer in mixed:
        rollout = answer.rollout
        at = np.flatnonzero(rollout.is_action)
        for version, sampler in enumerate(samplers):
            mine = at[rollout.version[at] == version]
            logp = log_probs(sampler, rollout.tokens)
            assert np.abs(logp[mine] - rollout.logp[mine]).max() < 1e-5
        other = log_probs(samplers[0], rollout.tokens)
        late = at[rollout.version[at] == 1]
        assert np.abs(other[late] - rollout.logp[late]).max() > 0.01


def log_probs(sampler: TorchSampler, tokens: np.ndarray) -> np.ndarray:
    """[L] at the temperature of the run; entry t is about token t."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    with torch.no_grad():
        logits = sampler.model(input_ids=ids, use_cache=False).logits[0].double() / SAMPLING.temperature
    chosen = logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0]
    return np.concatenate([[0.0], chosen.numpy()])


def test_kept_tokens_of_pieces_belong_together():
    sampling = replace(SAMPLING, top_k=5, max_new_tokens=12)
    sampler = sampler_of(kept=5)
    requests = [
        Request(PROMPTS[0], replace(sampling, max_new_tokens=size), sample)
        for sample, size in enumerate((2, 12, 12))
    ]
    with sampler.open() as stream:
        stream.ask(requests)
        first = next(iter(stream))
        stream.abort()
        pieces = [first, *stream]
    assert [piece.finish == "abort" for piece in pieces].count(True) == len(pieces) - 1
    for piece in pieces:
        assert piece.kept is not None
        assert piece.kept.shape == (len(piece.tokens), 5)


def test_a_stream_that_keeps_prefixes_cannot_be_aborted():
    with sampler_of().open(keep=True) as stream, pytest.raises(RuntimeError, match="open it without keep"):
        stream.abort()
