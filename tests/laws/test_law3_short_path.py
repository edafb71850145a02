"""Law 3 between the sampler's two paths: the Llama family's own, and the model's forward. Same texts, same
numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from helpers import prompt, tiny_model, tiny_tokenizer, without_kernels
from menon.engines.decoding import torch_sampler
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.types import Completion, Request, Sampling
from scripted import begun, written_by

V = 40


def mistral() -> PreTrainedModel:
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "eos_token_id": V - 1,
    }
    sizes = {
        "vocab_size": V,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "initializer_range": 0.3,
    }
    return MistralForCausalLM(MistralConfig(**sizes, **config, bos_token_id=None)).eval()


MODELS = {
    "llama": lambda: tiny_model("llama", vocab=V, attention_bias=True),
    "qwen2": lambda: tiny_model("qwen2", vocab=V, tied=False),
    "qwen3": lambda: tiny_model("qwen3", vocab=V),
    "mistral": mistral,
}


def written(
    model: PreTrainedModel, requests: list[Request]
) -> tuple[TorchSampler, dict[tuple[int, int], Completion]]:
    sampler = TorchSampler(model, tiny_tokenizer(V), seed=3, slots=7)
    return sampler, {(c.request.prompt.index, c.request.sample): c for c in written_by(sampler, requests)}


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_both_paths_write_the_same(kind, kernels, monkeypatch):
    """On a CPU by kernels, elsewhere by PyTorch alone."""
    model = MODELS[kind]()
    if not kernels:
        without_kernels(monkeypatch)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):  # ones and zeros would hide what a path forgot
                weight.add_(
                    torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))) * 0.2
                )
    rng = np.random.default_rng(2)
    prompts = [prompt(i, rng.integers(0, V - 1, size=size), vocab=V) for i, size in enumerate((6, 1, 13, 2))]
    requests = [Request(p, Sampling(max_new_tokens=10 + 5 * k), sample=k) for p in prompts for k in range(4)]
    short, quick = written(model, requests)
    monkeypatch.setattr(torch_sampler, "decoder_of", lambda model: None)
    whole, plain = written(model, requests)
    assert short.decoder is not None
    assert whole.decoder is None
    assert short.computed_tokens == whole.computed_tokens
    assert [quick[key].tokens.tolist() for key in plain] == [plain[key].tokens.tolist() for key in plain]
    for column in ("logp", "entropy"):
        apart = np.concatenate(
            [np.abs(getattr(quick[key], column) - getattr(plain[key], column)) for key in plain]
        )
        assert len(apart) > 60
        assert apart.mean() < 1e-6
        assert apart.max() < 1e-4


def test_new_weights_are_seen_between_and_within_calls():
    """Joint matrices are copies: they must follow the weights at each call, and at each new version."""
    model = tiny_model("llama", vocab=V)
    start = [Request(prompt(0, [3, 1, 4], vocab=V), Sampling(max_new_tokens=4), sample=k) for k in range(2)]
    sampler = TorchSampler(model, tiny_tokenizer(V), slots=1)
    sampler.end_tokens = np.array([-1])
    before = written_by(sampler, start)
    going = begun(sampler, start)
    first = next(going)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.mul_(0.5)
    sampler.version += 1
    second = next(going)
    after = written_by(sampler, start)
    assert first.logp.tolist() == before[0].logp.tolist()
    assert second.version.tolist() == [1] * 4
    assert np.abs(after[1].logp - before[1].logp).max() > 0.01
    assert second.tokens.tolist() == after[1].tokens.tolist()
    assert second.logp.tolist() == after[1].logp.tolist()
