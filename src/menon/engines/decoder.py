"""The network of the Llama family as plain data, and one short forward pass over it. Torch alone.

Llama, Qwen2, Qwen3 and Mistral are one network: RMSNorm, rotary attention with shared key heads, a SiLU-gated
MLP; Qwen adds biases to q, k and v, or norms of q and k. A `Decoder` refers to the tensors of a live
`transformers` model: nothing is copied, and a learner's changes are visible at once. Its forward pass gives
the same numbers as the model's own with much less Python overhead.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from menon.engines.own_backward import embedded, gated_linear, linear, rms_norm


class LowRank(NamedTuple):
    """scale * up(down(x)): the adapter of a linear layer."""

    down: Tensor
    """[rank, d]"""
    up: Tensor
    """[width, rank]"""
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x.to(self.down.dtype), self.down), self.up) * self.scale


class Affine(NamedTuple):
    """y = x @ weight.T + bias, in the dtype of the weight, and what an adapter adds to it."""

    weight: Tensor
    bias: Tensor | None = None
    adapter: LowRank | None = None

    def __call__(self, x: Tensor) -> Tensor:
        y = linear(x.to(self.weight.dtype), self.weight, self.bias)
        return y if self.adapter is None else (y + self.adapter(x)).to(y.dtype)

    def of_gated(self, gate: Tensor, up: Tensor) -> Tensor:
        """The same of SiLU(gate) * up."""
        if self.adapter is not None or self.weight.dtype != gate.dtype:
            return self(F.silu(gate) * up)
        return gated_linear(gate, up, self.weight, self.bias)


@dataclass(frozen=True)
class Layer:
    attention_norm: Tensor
    query: Affine
    key: Affine
    value: Affine
    output: Affine
    mlp_norm: Tensor
    gate: Affine
    up: Affine
    down: Affine
    query_norm: Tensor | None = None
    """[head_dim], in Qwen3 alone; so is the next field."""
    key_norm: Tensor | None = None


@dataclass(frozen=True)
class Decoder:
    embedding: Tensor
    """[V, d]"""
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Affine | None
    """[V, d]; None for a trunk without a vocabulary."""
    frequencies: Tensor
    """[head_dim / 2] radians per position, fp32."""
    rope_scale: float
    """Factor of the rotary tables; 1 but for YaRN."""
    heads: int
    key_heads: int
    head_dim: int
    eps: float
    longest: int | None
    """Tokens up to which attention is plain: the context, or the sliding window where that is shorter."""
    through: "Through | None" = None
    """How a layer is run whose weights are not all here until then; None: they are."""


Through = Callable[[int, Callable[[Layer, Tensor], Tensor], Tensor], Tensor]
"""(number of the layer, `run(layer, x)`, x) -> the states after that layer."""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(number of the layer, q [S, L, heads, D], k and v [S, L, key_heads, D]) -> [S, L, heads, D]; q and k are
already rotated."""


def causal(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token attends to itself and to the tokens before it in its row."""
    q, k, v = (states.transpose(1, 2) for states in (q, k, v))
    shared = q.shape[1] // k.shape[1]
    if q.is_cuda and q.dtype == torch.float32 and shared > 1:
        # No fused kernel of a GPU shares key heads in this dtype; without one every score of a pass is kept.
        k, v, shared = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1), 1
    attention = F.scaled_dot_product_attention
    if q.is_cuda:
        return attention(q, k, v, is_causal=True, enable_gqa=shared > 1).transpose(1, 2)
    # In bfloat16 the backward pass of a CPU's fused kernel takes up to four times as long, so q and k are in
    # fp32 and v keeps autocast's dtype.
    with torch.autocast("cpu", enabled=False):
        return attention(q, k, v.to(q.dtype), is_causal=True, enable_gqa=shared > 1).transpose(1, 2)


def masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """q [S, Q, heads, D], k and v [S, L, key_heads, D] -> [S, Q, heads, D]. The heads that share keys are one
    head with more queries, and `mask` [S, 1, heads / key_heads * Q, L] is added to their scores."""
    shared = q.shape[2] // k.shape[2]
    queries = q.unflatten(2, (-1, shared)).permute(0, 2, 3, 1, 4).flatten(2, 3)
    with torch.autocast(q.device.type, enabled=False):
        found = F.scaled_dot_product_attention(
            queries,
            k.transpose(1, 2),
            v.transpose(1, 2).to(q.dtype),
            mask,
        )
    return found.unflatten(2, (shared, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)


def hidden_states(
    decoder: Decoder, ids: Tensor, position: Tensor | None = None, attend: Attend = causal
) -> Tensor:
    """Token ids [S, L] -> hidden states after the last norm [S, L, d], with gradient if it is enabled.

    Later tokens cannot change a token's state, so padding on the right is harmless. `position` is [S, L] or
    [L], by default 0, 1, ...; packed and cached sequences pass their own `attend`. Residuals are in the dtype
    of the norms.
    """
    for states in layer_states(decoder, ids, position, attend):  # noqa: B007 (the last one is wanted)
        pass
    return states


def layer_states(
    decoder: Decoder, ids: Tensor, position: Tensor | None = None, attend: Attend = causal
) -> Iterator[Tensor]:
    """The same after each layer, [S, L, d]: the embeddings first, and the last layer's after the last
    norm."""
    if position is None:
        position = torch.arange(ids.shape[1], device=ids.device)
    x = embedded(ids, decoder.embedding).to(decoder.norm.dtype)
    cos, sin = (table[..., None, :] for table in rotary(decoder, position, x.dtype))
    for index, layer in enumerate(decoder.layers):
        yield x
        run = partial(one_layer, decoder, index=index, cos=cos, sin=sin, attend=attend)
        x = run(layer, x) if decoder.through is None else decoder.through(index, run, x)
    yield norm(x, decoder.norm, decoder.eps)


def one_layer(
    decoder: Decoder, layer: Layer, x: Tensor, *, index: int, cos: Tensor, sin: Tensor, attend: Attend
) -> Tensor:
    """States before a layer -> those after it; of the decoder it reads the sizes alone."""
    h = norm(x, layer.attention_norm, decoder.eps)
    q = layer.query(h).unflatten(-1, (decoder.heads, decoder.head_dim))
    k = layer.key(h).unflatten(-1, (decoder.key_heads, decoder.head_dim))
    v = layer.value(h).unflatten(-1, (decoder.key_heads, decoder.head_dim))
    if layer.query_norm is not None and layer.key_norm is not None:
        q, k = norm(q, layer.query_norm, decoder.eps), norm(k, layer.key_norm, decoder.eps)
    x = x + layer.output(attend(index, rotate(q, cos, sin), rotate(k, cos, sin), v).flatten(-2))
    h = norm(x, layer.mlp_norm, decoder.eps)
    return x + layer.down.of_gated(layer.gate(h), layer.up(h))


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm over the last dimension; autocast's half-precision states meet full-precision weights here."""
    return rms_norm(x.to(weight.dtype), weight, eps)


def with_wide_norms(decoder: Decoder) -> Decoder:
    """The same decoder with norms, and therefore residuals, in at least fp32. Only vectors are copied."""

    def wide(weight: Tensor | None) -> Any:
        return None if weight is None else weight.to(torch.promote_types(weight.dtype, torch.float32))

    names = ("attention_norm", "mlp_norm", "query_norm", "key_norm")
    layers = tuple(
        replace(layer, **{name: wide(getattr(layer, name)) for name in names}) for layer in decoder.layers
    )
    return replace(decoder, layers=layers, norm=wide(decoder.norm))


def rotary(decoder: Decoder, position: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Positions [...] -> cosines and signed sines [..., head_dim], the sines of the first half negative (see
    `rotate`)."""
    angle = position[..., None].float() * decoder.frequencies.to(position.device)
    cos, sin = angle.cos() * decoder.rope_scale, angle.sin() * decoder.rope_scale
    return torch.cat([cos, cos], -1).to(dtype), torch.cat([-sin, sin], -1).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (arXiv 2104.09864) of the halves (a, b) of x: (a cos - b sin, b cos + a sin)."""
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin
