"""Decoding for the Llama family: few operations per layer over one cache of all layers. Torch alone.

A small model is bound by the cost of calling operations, not by arithmetic, so projections that read the same input are one
matrix, masks and rotary tables are made once per step for all layers, and residuals are added where they lie.

Matrix products run in the dtype of the weights; residuals, norms, attention and its cache stay in fp32 (fp64 for fp64
weights), as in a learner under autocast.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from menon.engines.block_cache import BlockCache, View, width_class
from menon.engines.decoder import Affine, Decoder, Layer, causal, hidden_states, norm, rotary, rotate, with_wide_norms
from menon.engines.machine import SMALL


@dataclass(frozen=True)
class Joined:
    """Projections of the same input, side by side."""

    parts: tuple[Affine, ...]

    @staticmethod
    def of(copy: bool, *parts: Affine) -> "Joined":
        if not copy:
            return Joined(parts)
        biases = [p.weight.new_zeros(len(p.weight)) if p.bias is None else p.bias for p in parts]
        bias = None if all(p.bias is None for p in parts) else torch.cat(biases)
        return Joined((Affine(torch.cat([p.weight for p in parts]), bias),))

    def __call__(self, x: Tensor) -> Tensor:
        """[n, d] -> [n, sum of widths] in the dtype of x."""
        h = x.to(self.parts[0].weight.dtype)
        whole = self.parts[0](h) if len(self.parts) == 1 else torch.cat([part(h) for part in self.parts], -1)
        return whole.to(x.dtype)


@dataclass(frozen=True)
class Step:
    """What a layer has besides its own parts to decode with."""

    layer: Layer
    qkv: Joined
    qk_norm: Tensor | None
    """[heads + key_heads, head_dim]"""
    gate_up: Joined


def step_of(decoder: Decoder, layer: Layer, copy: bool) -> Step:
    qk_norm = None
    if layer.query_norm is not None and layer.key_norm is not None:
        qk_norm = torch.stack([layer.query_norm] * decoder.heads + [layer.key_norm] * decoder.key_heads)
    qkv = Joined.of(copy, layer.query, layer.key, layer.value)
    return Step(layer, qkv, qk_norm, Joined.of(copy, layer.gate, layer.up))


def num_weights(decoder: Decoder) -> int:
    return sum(affine.weight.numel() for layer in decoder.layers for affine in vars(layer).values() if isinstance(affine, Affine))


class DecoderSlots:
    """Keys and values of up to `slots` sequences, and the steps that lengthen them. Rows 0..n-1 are live.

    A start is [layers, 2, key_heads, length, head_dim]: keys and values of a sequence.
    """

    @torch.inference_mode()
    def __init__(self, decoder: Decoder, slots: int, fixed: bool = False) -> None:
        """`fixed`: every operation has a shape that depends on no neighbour, so a sequence's bits do not either. All slots are
        always computed, attention runs over widths that are powers of two, and beginnings are computed one by one."""
        self.given, self.slots, self.fixed = decoder, slots, fixed
        self.refresh()
        self.device, like = decoder.embedding.device, self.decoder.norm
        few = self.device.type == "cuda"
        self.cache = BlockCache(len(decoder.layers), slots, decoder.key_heads, decoder.head_dim, like, few)
        self._tables()

    @torch.inference_mode()
    def refresh(self) -> None:
        """Takes the weights as they are now: joint matrices are copies."""
        self.decoder = decoder = with_wide_norms(self.given)
        copy = num_weights(decoder) <= SMALL
        self.steps = [step_of(decoder, layer, copy) for layer in decoder.layers]

    def reserve(self, width: int) -> None:
        """Room for `width` positions."""
        if self.cache.reserve(width):
            self._tables()

    def _tables(self) -> None:
        self.places = torch.arange(self.cache.capacity, device=self.device)
        self.cos, self.sin = (table[:, None] for table in rotary(self.decoder, self.places, self.decoder.norm.dtype))

    @torch.inference_mode()
    def prefill(self, ids: Tensor, lengths: list[int]) -> list[Tensor]:
        """Starts of whole sequences, padded on the right where causal attention never looks."""
        found: list[Tensor] = []

        def keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (states.to(self.decoder.norm.dtype) for states in (q, k, v))
            found.append(torch.stack([k, v], 1).transpose(2, 3))
            return causal(layer, q, k, v)

        if self.fixed:
            for row, length in enumerate(lengths):
                hidden_states(self.decoder, F.pad(ids[row : row + 1, :length], (0, width_class(length) - length)), attend=keep)
            layers = len(self.decoder.layers)
            alone = [torch.stack(found[row * layers : (row + 1) * layers], 1) for row in range(len(lengths))]
            return [whole[0, ..., :length, :] for whole, length in zip(alone, lengths, strict=True)]
        hidden_states(self.decoder, ids, attend=keep)
        whole = torch.stack(found, 1)
        return [whole[row, ..., :length, :] for row, length in enumerate(lengths)]

    @torch.inference_mode()
    def extend(self, starts: list[Tensor], ids: Tensor, lengths: list[int]) -> list[Tensor]:
        """Starts made longer by `lengths[i]` tokens each; `ids` [S, L] are padded on the right."""
        decoder, before = self.decoder, [start.shape[3] for start in starts]
        size, most = ids.shape[1], max(before)
        past = decoder.norm.new_zeros(len(starts), len(decoder.layers), 2, decoder.key_heads, most, decoder.head_dim)
        for row, start in enumerate(starts):
            past[row, ..., : start.shape[3], :] = start
        new = torch.arange(size, device=self.device)
        at = torch.tensor(before, device=self.device)
        known = (torch.arange(most, device=self.device) < at[:, None])[:, None].expand(-1, size, -1)
        seen = torch.cat([known, (new <= new[:, None]).expand(len(starts), -1, -1)], -1)[:, None]
        found: list[Tensor] = []

        def keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            found.append(torch.stack([k, v], 1).transpose(2, 3).to(past.dtype))
            keys, values = torch.cat([past[:, layer], found[-1]], 3).unbind(1)
            shared = decoder.heads != decoder.key_heads
            q = q.transpose(1, 2).to(past.dtype)
            return F.scaled_dot_product_attention(q, keys, values, seen, enable_gqa=shared).transpose(1, 2)

        hidden_states(decoder, ids, at[:, None] + new, keep)
        whole = torch.stack(found, 1)
        return [torch.cat([start, whole[row, ..., : lengths[row], :]], 3) for row, start in enumerate(starts)]

    def start(self, row: int, length: int) -> Tensor:
        """What a row holds, with memory of its own."""
        return self.cache.start(row, length)

    def copy(self, start: Tensor) -> Tensor:
        """A start with memory of its own."""
        return start.clone()

    @torch.inference_mode()
    def fill(self, rows: Tensor, start: Tensor) -> None:
        """These rows begin with the given keys and values."""
        self.reserve(start.shape[3])
        self.cache.fill(rows, start)

    @torch.inference_mode()
    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Row source[i] takes the place of row target[i]; none of them is longer than `width`."""
        self.cache.move(source, target, width)

    @torch.inference_mode()
    def decode(self, token: np.ndarray, position: np.ndarray) -> Tensor:
        """One token for each of the first n rows -> logits [n, V] of the next; of all slots where they are fixed."""
        if self.fixed:
            token, position = (np.pad(values, (0, self.slots - len(values))) for values in (token, position))
        n, decoder, cache = len(token), self.decoder, self.cache
        heads, both = decoder.heads, decoder.heads + decoder.key_heads
        at = torch.from_numpy(position).to(self.device)
        views = self._views(position, at)
        places, cos, sin = cache.places(at), self.cos[at], self.sin[at]
        x = F.embedding(torch.from_numpy(token).to(self.device), decoder.embedding).to(decoder.norm.dtype)
        for index, step in enumerate(self.steps):
            layer = step.layer
            qkv = step.qkv(norm(x, layer.attention_norm, decoder.eps)).view(n, -1, decoder.head_dim)
            qk = qkv[:, :both]
            if step.qk_norm is not None:
                qk = F.rms_norm(qk, qk.shape[2:], None, decoder.eps).mul_(step.qk_norm)
            qk = rotate(qk, cos, sin)
            cache.write(places[index], qk[:, heads:], qkv[:, both:])
            q = qk[:, :heads].reshape(n * decoder.key_heads, -1, decoder.head_dim)
            add(x, layer.output, cache.attend(index, q, views).view(n, -1))
            gate, up = step.gate_up(norm(x, layer.mlp_norm, decoder.eps)).chunk(2, -1)
            add(x, layer.down, F.silu(gate).mul_(up))
        assert decoder.head is not None
        return decoder.head(norm(x, decoder.norm, decoder.eps))

    def _views(self, position: np.ndarray, at: Tensor) -> list[View]:
        """One view for all rows, of the blocks that the longest needs; where slots are fixed, one per class of widths that
        occurs."""
        longest = int(position.max()) + 1
        self.reserve(longest)
        widths = [self.cache.width(longest)]
        if self.fixed:
            classes = np.array([width_class(length) for length in (position + 1).tolist()])
            widths = np.unique(classes).tolist()
        views = []
        for width in widths:
            hidden = self.places[:width] > at[:, None, None]
            mask = torch.zeros(hidden.shape, dtype=self.decoder.norm.dtype, device=self.device).masked_fill_(hidden, -torch.inf)
            rows = None if len(widths) == 1 else torch.from_numpy(classes == width).to(self.device)
            views.append(self.cache.view(mask, rows))
        return views


def renewed(slots: DecoderSlots | None, decoder: Decoder, places: int, fixed: bool) -> DecoderSlots:
    """Slots for that many sequences: those of an earlier call where they are enough, with the weights of now."""
    if slots is None or slots.slots < places:
        return DecoderSlots(decoder, places, fixed)
    slots.refresh()
    return slots


def add(x: Tensor, affine: Affine, y: Tensor) -> None:
    """x += affine(y), in place."""
    if affine.bias is None and affine.weight.dtype == x.dtype:
        x.addmm_(y, affine.weight.t())
    else:
        x += affine(y.to(affine.weight.dtype))
