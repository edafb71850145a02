"""The models of `transformers` that are a `Decoder`: which ones, and where their tensors are."""

from typing import Any

import torch
from torch import Tensor, nn

from menon.engines.decoder import Affine, Decoder, Layer, LowRank, hidden_states
from menon.engines.limits import rows_of

FAMILY = ("Llama", "Qwen2", "Qwen3", "Mistral")
FIXED_ROPE = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary frequencies that do not depend on the length of the sequence."""


@torch.no_grad()
def decoder_of(model: nn.Module) -> Decoder | None:
    """The network of a `transformers` model of the family, a causal LM or its trunk alone; None for any
    other.

    Also None if its pass and the model's own give different numbers on a few test tokens, because of another
    activation, adapters other than LoRA or quantised layers. The model must be in eval mode.
    """
    decoder = _collect(model)
    if decoder is None:
        return None
    device = decoder.embedding.device
    ids = (torch.arange(12, device=device) * 7 % len(decoder.embedding)).view(2, 6)
    trunk: Any = model if decoder.head is None else model.base_model
    hidden, want = hidden_states(decoder, ids), trunk(input_ids=ids, use_cache=False).last_hidden_state
    same = _close(hidden, want)
    if same and decoder.head is not None:
        same = _close(decoder.head(want), model(input_ids=ids, use_cache=False).logits)
    return decoder if same else None


def _close(got: Tensor, want: Tensor) -> bool:
    allowed = 1e-4 if torch.finfo(want.dtype).bits >= 32 else 0.1
    return bool((got - want).float().norm() <= allowed * want.float().norm())  # NaN is not close


def is_family(model: nn.Module) -> bool:
    """Whether the model is of the family, by its class alone; `decoder_of` also compares numbers."""
    names = {f"{kind}{end}" for kind in FAMILY for end in ("Model", "ForCausalLM")}
    return type(model).__name__ in names and type(model).__module__.startswith("transformers.")


def _collect(model: Any) -> Decoder | None:
    if not is_family(model):
        return None
    config, trunk = model.config, model.base_model
    head = model.get_output_embeddings() if model is not trunk else None
    try:
        rope = trunk.rotary_emb
        plain = (
            config.hidden_act == "silu"
            and rope.rope_type in FIXED_ROPE
            and type(trunk.embed_tokens) is nn.Embedding
        )
        if not (plain and (model is trunk or type(head) is nn.Linear)):
            return None
        layers = tuple(map(layer_of, trunk.layers))
        first = trunk.layers[0].self_attn
        return Decoder(
            embedding=trunk.embed_tokens.weight,
            layers=layers,
            norm=trunk.norm.weight,
            head=None if head is None else Affine(head.weight, head.bias),
            frequencies=rope.inv_freq.float(),
            rope_scale=float(rope.attention_scaling),
            heads=config.num_attention_heads,
            key_heads=config.num_key_value_heads,
            head_dim=first.head_dim,
            eps=config.rms_norm_eps,
            longest=rows_of(model),
        )
    except (AttributeError, IndexError, ValueError):
        return None


def _affine(part: Any) -> Affine:
    """A linear layer, with its adapter if it has one. AttributeError for any other kind of layer, and for an
    adapter that is more than two matrices."""
    if type(part) is nn.Linear:
        return Affine(part.weight, part.bias)
    base, (name,) = part.base_layer, part.active_adapters
    down, up = part.lora_A[name], part.lora_B[name]
    plain = type(base) is type(down) is type(up) is nn.Linear and down.bias is up.bias is None
    if not plain or part.lora_variant or part.merged or part.disable_adapters or len(part.lora_A) > 1:
        raise AttributeError("this layer computes more than its matrices")
    return Affine(base.weight, base.bias, LowRank(down.weight, up.weight, part.scaling[name]))


def layer_of(layer: Any) -> Layer:
    """The tensors of one layer of a model of the family, with its adapter if it has one."""
    attention, mlp = layer.self_attn, layer.mlp
    query, key, value, output, gate, up, down = (
        _affine(part)
        for part in (
            *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
            *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
        )
    )
    return Layer(
        attention_norm=layer.input_layernorm.weight,
        query=query,
        key=key,
        value=value,
        output=output,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate=gate,
        up=up,
        down=down,
        query_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        key_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
    )
