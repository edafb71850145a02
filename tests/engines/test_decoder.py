from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel

from helpers import network_of, tiny_model
from menon.engines.decoder import Decoder, causal, hidden_states

V = 40


def mistral(**config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": V,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "head_dim": 8,
    }
    heads = {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,
        "max_position_embeddings": 64,
    }
    return MistralForCausalLM(MistralConfig(**sizes, **heads, **config)).eval()


YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip

MODELS = {
    "qwen3": lambda: tiny_model("qwen3", vocab=V),
    "qwen3_biased_untied": lambda: tiny_model("qwen3", vocab=V, attention_bias=True, tied=False),
    "qwen2": lambda: tiny_model("qwen2", vocab=V),
    "llama": lambda: tiny_model("llama", vocab=V),
    "llama_biased": lambda: tiny_model("llama", vocab=V, attention_bias=True, mlp_bias=True),
    "llama3_rope": lambda: tiny_model("llama", vocab=V, rope_parameters=LLAMA3),
    "yarn": lambda: tiny_model("qwen3", vocab=V, rope_parameters=YARN),
    "mistral": mistral,
    "full_heads": lambda: tiny_model("llama", vocab=V, num_key_value_heads=4),
}


def taken(model: PreTrainedModel) -> Decoder:
    with (
        torch.no_grad()
    ):  # random biases and norms: at their zeros and ones a decoder that forgot them would pass
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.add_(
                    torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))) * 0.3
                )
    return network_of(model)


def some_ids(seed: int = 1) -> Tensor:
    return torch.randint(V, (3, 50), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", MODELS)
def test_states_and_gradients_are_the_models_own(kind):
    model, ids = MODELS[kind](), some_ids()
    decoder = taken(model)
    hidden = hidden_states(decoder, ids)
    want = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(hidden, want, atol=2e-5, rtol=1e-4)
    weights, pull = list(model.parameters()), torch.randn(V, generator=torch.Generator().manual_seed(2))
    assert decoder.head is not None
    got = torch.autograd.grad((decoder.head(hidden) @ pull).tanh().sum(), weights)
    own = torch.autograd.grad((model(input_ids=ids, use_cache=False).logits @ pull).tanh().sum(), weights)
    for (name, _), a, b in zip(model.named_parameters(), got, own, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-3, msg=name)


def test_a_decoder_follows_its_model():
    model = tiny_model(vocab=V)
    decoder, ids = taken(model), some_ids()
    before = hidden_states(decoder, ids)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
    after = hidden_states(decoder, ids)
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(after, model.base_model(input_ids=ids).last_hidden_state, atol=2e-5, rtol=1e-4)


def test_padding_on_the_right_changes_nothing():
    decoder, ids = taken(tiny_model(vocab=V)), some_ids()
    other = torch.cat([ids[:, :20], some_ids(2)[:, 20:]], 1)
    torch.testing.assert_close(
        hidden_states(decoder, ids)[:, :20], hidden_states(decoder, other)[:, :20], atol=1e-6, rtol=0
    )


def test_positions_may_be_given():
    """Rotary attention knows distances alone: every position moved by 7 gives the same states, stretched ones
    do not."""
    decoder, ids = taken(tiny_model(vocab=V)), some_ids()
    plain = hidden_states(decoder, ids)
    torch.testing.assert_close(hidden_states(decoder, ids, torch.arange(50) + 7), plain, atol=1e-4, rtol=1e-4)
    assert (hidden_states(decoder, ids, torch.arange(50) * 2) - plain).abs().max() > 0.01


def test_a_trunk_alone_and_other_dtypes():
    ids = some_ids()
    trunk = tiny_model(vocab=V).base_model
    assert taken(trunk).head is None
    wide = tiny_model(vocab=V).double()
    torch.testing.assert_close(
        hidden_states(taken(wide), ids),
        wide.base_model(input_ids=ids).last_hidden_state,
        atol=1e-5,
        rtol=1e-5,
    )
    half = tiny_model(vocab=V, dtype=torch.bfloat16)
    got, want = hidden_states(taken(half), ids), half.base_model(input_ids=ids).last_hidden_state
    assert got.dtype == torch.bfloat16
    assert (got - want).float().norm() < 0.1 * want.float().norm()


def test_autocast_keeps_norms_wide():
    model, ids = tiny_model(vocab=V), some_ids()
    decoder = taken(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = hidden_states(decoder, ids)
        want = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    assert hidden.dtype == torch.float32
    exact = hidden_states(decoder, ids)
    assert (hidden - exact).abs().mean() < 1.5 * (want - exact).abs().mean()


def test_a_window_bounds_what_is_plain():
    assert taken(mistral(sliding_window=24)).longest == 24
    assert taken(tiny_model(vocab=V)).longest == 128


def test_attention_on_a_cpu_is_in_fp32_under_autocast():
    """In bfloat16 its way back takes up to four times as long; the values come as autocast's products left
    them."""
    q, k, v = (torch.randn(2, 5, heads, 8, requires_grad=True) for heads in (4, 2, 2))
    want = torch.autograd.grad(causal(0, q, k, v.bfloat16().float()).square().sum(), (q, k, v))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = causal(0, q, k, v.bfloat16())
    assert mixed.dtype == torch.float32
    for got, exact in zip(torch.autograd.grad(mixed.square().sum(), (q, k, v)), want, strict=True):
        assert torch.equal(got, exact)
