"""Law 7, bitwise: with fixed slots an answer is the same to the last bit whoever stands beside it, and in
whichever order."""

import numpy as np
import pytest
import torch

from helpers import as_large, prompt, tiny_model, tiny_tokenizer, without_kernels
from menon.engines.decoding import torch_sampler
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.errors import UserError
from menon.types import Completion, Request, Sampling
from scripted import answered, written_by

V = 40
SIZES = {"odd": {"hidden": 24, "context": 512}, "wide": {"hidden": 128, "layers": 3, "context": 512}}


def requests() -> list[Request]:
    rng = np.random.default_rng(4)
    found = []
    for i in range(9):
        start = prompt(i, rng.integers(0, V - 1, size=300 if i == 5 else 1 + 7 * i), vocab=V)
        for k in range(3):
            hot = Sampling(
                max_new_tokens=4 + 5 * k, temperature=(1.0, 0.7, 0.0)[k], top_p=0.9 if i % 3 == 2 else 1.0
            )
            found.append(Request(start, hot, sample=k))
    return found


def bits(completion: Completion) -> tuple[bytes, ...]:
    return tuple(getattr(completion, name).tobytes() for name in ("tokens", "logp", "log_kept", "entropy"))


def written(sampler: TorchSampler, asked: list[Request]) -> dict[tuple[int, int], Completion]:
    return by_name(written_by(sampler, asked))


def by_name(completions: list[Completion]) -> dict[tuple[int, int], Completion]:
    return {(c.request.prompt.index, c.request.sample): c for c in completions}


@pytest.fixture(params=["kernels", "pytorch", "threads"])
def way(request, monkeypatch):
    """A small model by kernels, any by PyTorch alone, a large one by kernels with its rows in two threads."""
    if request.param == "pytorch":
        without_kernels(monkeypatch)
    elif request.param == "threads":
        as_large(monkeypatch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "size"), [("qwen3", "odd"), ("llama", "wide")])
@pytest.mark.usefixtures("way")
def test_bits_do_not_depend_on_company(kind, size, dtype):
    model = tiny_model(kind, vocab=V, **SIZES[size]).to(dtype)
    sampler = TorchSampler(model, tiny_tokenizer(V), seed=2, slots=6, fixed_slots=True)
    asked = requests()
    together = written(sampler, asked)
    assert len(together) == len(asked)
    rng = np.random.default_rng(0)
    shuffled = written(sampler, [asked[i] for i in rng.permutation(len(asked))])
    alone = {key: c for request in asked[::4] for key, c in written(sampler, [request]).items()}
    with sampler.open(keep=True) as stream:
        answered(stream, asked)
        again = by_name(answered(stream, asked[::-1]))
    for other in (shuffled, alone, again):
        for key, completion in other.items():
            assert bits(completion) == bits(together[key]), key
            assert completion.text == together[key].text


@pytest.mark.usefixtures("way")
def test_the_numbers_are_those_of_free_slots():
    model = tiny_model(vocab=V, context=512)
    fixed = written(TorchSampler(model, tiny_tokenizer(V), seed=2, slots=6, fixed_slots=True), requests())
    free = written(TorchSampler(model, tiny_tokenizer(V), seed=2, slots=6), requests())
    for key, completion in free.items():
        assert fixed[key].tokens.tolist() == completion.tokens.tolist()
        np.testing.assert_allclose(fixed[key].logp, completion.logp, atol=2e-5)
    apart = np.concatenate([np.abs(fixed[key].logp - free[key].logp) for key in free])
    assert apart.mean() < 1e-6


def test_one_slot_and_too_little_memory(monkeypatch):
    model, asked = tiny_model(vocab=V), requests()[:2]
    alone = written(TorchSampler(model, tiny_tokenizer(V), seed=2, slots=1, fixed_slots=True), asked)
    free = written(TorchSampler(model, tiny_tokenizer(V), seed=2, slots=1), asked)
    assert [c.tokens.tolist() for c in alone.values()] == [free[key].tokens.tolist() for key in alone]
    sampler = TorchSampler(model, tiny_tokenizer(V), slots=16, fixed_slots=True)
    monkeypatch.setattr(torch_sampler, "free_bytes", lambda device: 10_000)
    with pytest.raises(
        UserError,
        match=r"fixed_slots computes all 16 slots, and free memory holds \d+ sequences of 10 tokens",
    ):
        written_by(sampler, asked)


def test_other_models_cannot():
    sampler = TorchSampler(tiny_model("gpt2", vocab=V, context=512), tiny_tokenizer(V), fixed_slots=True)
    with pytest.raises(
        UserError,
        match=r"fixed_slots needs a model of the Llama, Qwen2, Qwen3, Mistral kind, and this is GPT2",
    ):
        written_by(sampler, requests())
