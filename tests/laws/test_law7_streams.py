"""Law 7: same seed, same run; what one request gets does not depend on its neighbours, their order or the
number of slots."""

import numpy as np
import pytest
import torch

from helpers import KINDS, prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.types import Completion, Request, Sampling
from scripted import written_by

V = 40
SETTINGS = (
    Sampling(24),
    Sampling(30, temperature=0.8, top_p=0.9),
    Sampling(10, top_k=8),
    Sampling(16, stop=("3", "ab")),
)


def requests() -> list[Request]:
    rng = np.random.default_rng(3)
    prompts = [
        prompt(i, rng.integers(0, V - 1, size=size), vocab=V) for i, size in enumerate((4, 19, 1, 8, 8))
    ]
    return [Request(p, SETTINGS[(p.index + k) % 4], sample=k) for p in prompts for k in range(4)]


def answers(
    model: torch.nn.Module, asked: list[Request], slots: int, seed: int = 0
) -> dict[tuple[int, int], Completion]:
    sampler = TorchSampler(model, tiny_tokenizer(V), seed=seed, slots=slots)
    return {(c.request.prompt.index, c.request.sample): c for c in written_by(sampler, asked)}


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_order_and_slots_change_nothing(kind):
    model, asked = tiny_model(kind, vocab=V), requests()
    together = answers(model, asked, slots=8)
    shuffled = [asked[i] for i in np.random.default_rng(0).permutation(len(asked))]
    others = [
        answers(model, shuffled, slots=8),
        answers(model, asked, slots=1),
        answers(model, asked, slots=64),
    ]
    others.append(
        {name: got for request in asked for name, got in answers(model, [request], slots=8).items()}
    )
    for other in others:
        assert other.keys() == together.keys()
        for name, completion in other.items():
            assert completion.tokens.tolist() == together[name].tokens.tolist()
            assert (completion.finish, completion.text) == (together[name].finish, together[name].text)
            for column in ("logp", "log_kept", "entropy"):
                np.testing.assert_allclose(
                    getattr(completion, column), getattr(together[name], column), atol=1e-4
                )


def test_every_part_of_a_name_leads_to_another_answer():
    model, start = tiny_model(vocab=V), prompt(0, [1, 2, 3], vocab=V)
    free = Sampling(max_new_tokens=30)
    asked = [
        Request(start, free),
        Request(start, free, sample=1),
        Request(start, free, visit=1),
        Request(start, free, purpose="eval"),
        Request(start, free, path=(0,)),
        Request(start, free, path=(1,)),
        Request(prompt(1, [1, 2, 3], vocab=V), free),
    ]
    sampler = TorchSampler(model, tiny_tokenizer(V), seed=0)
    written = {tuple(completion.tokens.tolist()) for completion in written_by(sampler, asked)}
    assert len(written) == len(asked)
    assert (
        answers(model, asked[:1], 1, seed=1)[0, 0].tokens.tolist()
        != answers(model, asked[:1], 1)[0, 0].tokens.tolist()
    )
