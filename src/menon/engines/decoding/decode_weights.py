"""The weights of a Llama for decoding: in a small model, projections of the same input are one matrix."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from menon.engines.decoder import Affine, Decoder, Layer, with_wide_norms
from menon.engines.machine import SMALL


@dataclass(frozen=True)
class Product:
    """y = x @ weight + bias, for one projection or several of the same input, side by side."""

    weights: tuple[Tensor, ...]
    """[d, width] each."""
    biases: tuple[Tensor | None, ...]

    @staticmethod
    def of(copy: bool, *parts: Affine) -> "Product":
        """With `copy`, one new matrix; else the given ones as they are. The new matrix is stored in input
        order, which is a fifth faster for few rows on a CPU."""
        if not copy:
            return Product(tuple(part.weight.t() for part in parts), tuple(part.bias for part in parts))
        biases = [p.weight.new_zeros(len(p.weight)) if p.bias is None else p.bias for p in parts]
        bias = None if all(p.bias is None for p in parts) else torch.cat(biases)
        return Product((torch.cat([p.weight for p in parts]).t().contiguous(),), (bias,))

    def __call__(self, x: Tensor) -> Tensor:
        """[n, d] -> [n, sum of widths] in the dtype of the weights."""
        h, both = x.to(self.weights[0].dtype), zip(self.weights, self.biases, strict=True)
        parts = [
            torch.mm(h, weight) if bias is None else torch.addmm(bias, h, weight) for weight, bias in both
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def add_to(self, x: Tensor, y: Tensor) -> None:
        """x += self(y), in place; of a single projection."""
        if self.biases == (None,) and self.weights[0].dtype == x.dtype:
            x.addmm_(y, self.weights[0])
        else:
            x += self(y)


@dataclass(frozen=True)
class Step:
    """The weights of a layer for decoding."""

    attention_norm: Tensor
    qkv: Product
    qk_norm: Tensor | None
    """[heads + key_heads, head_dim]"""
    output: Product
    mlp_norm: Tensor
    gate_up: Product
    down: Product


def step_of(decoder: Decoder, layer: Layer, copy: bool) -> Step:
    qk_norm = None
    if layer.query_norm is not None and layer.key_norm is not None:
        qk_norm = torch.stack([layer.query_norm] * decoder.heads + [layer.key_norm] * decoder.key_heads)
    return Step(
        layer.attention_norm,
        Product.of(copy, layer.query, layer.key, layer.value),
        qk_norm,
        Product.of(copy, layer.output),
        layer.mlp_norm,
        Product.of(copy, layer.gate, layer.up),
        Product.of(copy, layer.down),
    )


def matrices(decoder: Decoder) -> list[Tensor]:
    """The matrices of the decoder's layers."""
    return [
        affine.weight
        for layer in decoder.layers
        for affine in vars(layer).values()
        if isinstance(affine, Affine)
    ]


def is_copied(decoder: Decoder) -> bool:
    """Whether the model is decoded with copies of its matrices."""
    return sum(weight.numel() for weight in matrices(decoder)) <= SMALL


def has_kernels(decoder: Decoder) -> bool:
    """Whether the model is decoded by `CpuStep`: it is small, on a CPU, and entirely in fp32 or entirely in
    bfloat16."""
    if decoder.embedding.device.type != "cpu":
        return False
    weights = [*matrices(decoder), decoder.embedding, *([decoder.head.weight] if decoder.head else [])]
    apart = {weight.data_ptr(): weight.numel() for weight in weights}
    return sum(apart.values()) <= SMALL and {weight.dtype for weight in weights} in (
        {torch.float32},
        {torch.bfloat16},
    )


def cache_dtype(decoder: Decoder) -> torch.dtype:
    """The dtype of keys and values: that of the weights if `CpuStep` reads them (it sums in fp32), else at
    least fp32."""
    dtype = decoder.embedding.dtype
    return dtype if has_kernels(decoder) else torch.promote_types(dtype, torch.float32)


def ready(decoder: Decoder) -> tuple[Decoder, list[Step], Product]:
    """The decoder, its layers and its head, with the weights for decoding. ValueError for a model with an
    adapter, which is decoded merged (`engines.lora.merged_copy`)."""
    if any(
        isinstance(one, Affine) and one.adapter for layer in decoder.layers for one in vars(layer).values()
    ):
        raise ValueError("an adapter is beside its weights; give the sampler a merged copy")
    decoder, head, copy = with_wide_norms(decoder), decoder.head, is_copied(decoder)
    assert head is not None
    return decoder, [step_of(decoder, layer, copy) for layer in decoder.layers], Product.of(copy, head)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a tree of lists, tuples and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value):
        yield from tensors([getattr(value, field.name) for field in fields(value)])
