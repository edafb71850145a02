"""The weights of a Llama for decoding: on a CPU in the layout that oneDNN reads fastest, elsewhere as they
are, or in a small model with projections of the same input as one matrix."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from menon.engines.decoder import Affine, Decoder, Layer, with_wide_norms
from menon.engines.decoding.row_threads import in_parts
from menon.engines.machine import PACKED, SMALL, can_pack, row_threads


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
        both = joined(parts)
        return Product((both.weight.t().clone(memory_format=torch.contiguous_format),), (both.bias,))

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


def joined(parts: Sequence[Affine]) -> Affine:
    """Projections of the same input side by side: new tensors, but for a single one."""
    if len(parts) == 1:
        return parts[0]
    biases = [part.weight.new_zeros(len(part.weight)) if part.bias is None else part.bias for part in parts]
    none = all(part.bias is None for part in parts)
    return Affine(torch.cat([part.weight for part in parts]), None if none else torch.cat(biases))


@dataclass(frozen=True)
class Packed:
    """The same in oneDNN's own layout, which it would otherwise make at each call: in bfloat16 that is a
    fifth of the time of a product with 64 rows, and half of it with 8 or fewer."""

    weight: Tensor
    """Opaque."""
    bias: Tensor | None

    @staticmethod
    def of(*parts: Affine) -> "Packed":
        both = joined(parts)
        return Packed(torch.ops.mkldnn._reorder_linear_weight(both.weight.detach(), ROWS), both.bias)

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """[n, d] in the dtype of the weight -> [n, width]; `activation` by oneDNN's name."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, activation, [], "")

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """self(x) * factor, [n, width]."""
        return torch.ops.mkldnn._linear_pointwise(x, factor, self.weight, self.bias, "mul")


ROWS = 64
"""Rows that the layout is asked for; it is the same for all numbers of rows on the CPUs that were tried."""


@dataclass(frozen=True)
class JoinedGate:
    """silu(gate(h)) * up(h), of one product."""

    both: Product

    def __call__(self, h: Tensor) -> Tensor:
        gate, up = self.both(h).chunk(2, -1)
        return F.silu(gate).mul_(up)


@dataclass(frozen=True)
class PackedGate:
    """The same of two products, which oneDNN ends with the activation and the multiplication."""

    gate: Packed
    up: Packed

    def __call__(self, h: Tensor) -> Tensor:
        return self.up.times(h, self.gate(h, "swish"))


@dataclass(frozen=True)
class Step:
    """The weights of a layer for decoding."""

    attention_norm: Tensor
    qkv: Product | Packed
    qk_norm: Tensor | None
    """[heads + key_heads, head_dim]"""
    output: Product | Packed
    mlp_norm: Tensor
    inner: JoinedGate | PackedGate
    """[n, d] -> what `down` reads."""
    down: Product | Packed


def step_of(decoder: Decoder, layer: Layer, copy: bool, pack: bool) -> Step:
    qk_norm = None
    if layer.query_norm is not None and layer.key_norm is not None:
        qk_norm = torch.stack([layer.query_norm] * decoder.heads + [layer.key_norm] * decoder.key_heads)
    product = Packed.of if pack else partial(Product.of, copy)
    return Step(
        layer.attention_norm,
        product(layer.query, layer.key, layer.value),
        qk_norm,
        product(layer.output),
        layer.mlp_norm,
        PackedGate(Packed.of(layer.gate), Packed.of(layer.up))
        if pack
        else JoinedGate(Product.of(copy, layer.gate, layer.up)),
        product(layer.down),
    )


def matrices(decoder: Decoder) -> list[Tensor]:
    """The matrices of the decoder's layers."""
    return [
        affine.weight
        for layer in decoder.layers
        for affine in vars(layer).values()
        if isinstance(affine, Affine)
    ]


def all_matrices(decoder: Decoder) -> list[Tensor]:
    """Each matrix of the decoder once, also where embedding and head are the same."""
    weights = [*matrices(decoder), decoder.embedding, *([decoder.head.weight] if decoder.head else [])]
    return list({weight.data_ptr(): weight for weight in weights}.values())


def weights_of(decoder: Decoder) -> int:
    """How many numbers all of its matrices have."""
    return sum(weight.numel() for weight in all_matrices(decoder))


def is_copied(decoder: Decoder) -> bool:
    """Whether the model is decoded with copies of its matrices, where they are not packed."""
    return sum(weight.numel() for weight in matrices(decoder)) <= SMALL


def has_kernels(decoder: Decoder) -> bool:
    """Whether the model is decoded by `CpuStep`: it is on a CPU, and entirely in fp32 or entirely in
    bfloat16."""
    dtypes = {weight.dtype for weight in all_matrices(decoder)}
    return decoder.embedding.device.type == "cpu" and dtypes in ({torch.float32}, {torch.bfloat16})


def is_packed(decoder: Decoder) -> bool:
    """Whether `CpuStep` reads packed copies: oneDNN has kernels for this dtype, and they take no more than
    `PACKED` bytes. In fp32 a small model has none, because oneDNN needs longer to start a product than the
    library that PyTorch uses otherwise."""
    dtype, heads = decoder.embedding.dtype, [decoder.head.weight] if decoder.head else []
    size = sum(weight.nbytes for weight in matrices(decoder) + heads)
    pays = dtype == torch.bfloat16 or not is_copied(decoder)
    return has_kernels(decoder) and can_pack(dtype) and pays and size <= PACKED


def cache_dtype(decoder: Decoder) -> torch.dtype:
    """The dtype of keys and values: that of the weights if `CpuStep` reads them (it sums in fp32), else at
    least fp32."""
    dtype = decoder.embedding.dtype
    return dtype if has_kernels(decoder) else torch.promote_types(dtype, torch.float32)


@dataclass(frozen=True)
class Ready:
    """A decoder with its weights for decoding."""

    decoder: Decoder
    """With wide norms."""
    steps: list[Step]
    head: Product | Packed

    @staticmethod
    def of(given: Decoder) -> "Ready":
        """ValueError for a model with an adapter, which is decoded merged (`engines.lora.merged_copy`)."""
        if any(
            isinstance(one, Affine) and one.adapter for layer in given.layers for one in vars(layer).values()
        ):
            raise ValueError("an adapter is beside its weights; give the sampler a merged copy")
        decoder, head = with_wide_norms(given), given.head
        assert head is not None
        copy, pack, layers = is_copied(decoder), is_packed(decoder), decoder.layers

        def made(part: slice) -> list[Step]:
            return [step_of(decoder, layer, copy, pack) for layer in layers[part]]

        parts = in_parts(made, len(layers), row_threads(weights_of(decoder), len(layers)) if pack else 1)
        steps = [step for part in parts for step in part]
        return Ready(decoder, steps, Packed.of(head) if pack else Product.of(copy, head))


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a tree of lists, tuples and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value):
        yield from tensors([getattr(value, field.name) for field in fields(value)])
