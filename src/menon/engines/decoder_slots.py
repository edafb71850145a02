"""Decoding for the Llama family: few operations per layer over one cache of all layers. Torch alone.

A small model is bound by the cost of calling operations, not by arithmetic, so projections that read the same input are one
matrix, masks and rotary tables are made once per step for all layers, and residuals are added where they lie.

Matrix products run in the dtype of the weights; residuals, norms, attention and its cache stay in fp32 (fp64 for fp64
weights), as in a learner under autocast.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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

    A start is [layers, key_heads, 2, length, head_dim]: keys and values of a sequence.
    """

    @torch.inference_mode()
    def __init__(self, decoder: Decoder, slots: int, spare: Tensor | None = None, fixed: bool = False) -> None:
        """`spare`: the cache of earlier slots, whose numbers must be finite. Fresh memory costs more than a small model's step.

        `fixed`: every operation has a shape that depends on no neighbour, so a sequence's bits do not either. All slots are
        always computed, attention runs over widths that are powers of two, and beginnings are computed one by one.
        """
        self.given, self.slots, self.fixed = decoder, slots, fixed
        self.refresh()
        self.wide, self.device = self.decoder.norm.dtype, decoder.embedding.device
        if spare is None or spare.shape[1] < slots or (spare.dtype, spare.device) != (self.wide, self.device):
            shape = (len(decoder.layers), slots, decoder.key_heads, 2, 0, decoder.head_dim)
            spare = torch.zeros(shape, dtype=self.wide, device=self.device)
        self._use(spare)

    @torch.inference_mode()
    def refresh(self) -> None:
        """Takes the weights as they are now: joint matrices are copies."""
        self.decoder = decoder = with_wide_norms(self.given)
        copy = num_weights(decoder) <= SMALL
        self.steps = [step_of(decoder, layer, copy) for layer in decoder.layers]

    def reserve(self, width: int) -> None:
        """Room for `width` positions; grows by doubling, so that an answer which stops early never pays for its limit."""
        have = self.cache.shape[4]
        if width > have:
            # What was never written is zero: a masked NaN would leak.
            self._use(F.pad(self.cache, (0, 0, 0, max(width, 2 * have, 32) - have)))

    def spare(self, most: int) -> Tensor | None:
        """The cache, for the slots of a later call; None where it is larger than so many bytes."""
        return self.cache if self.cache.nbytes <= most else None

    def _use(self, cache: Tensor) -> None:
        self.cache = cache
        layers = cache.flatten(1, 2)
        self.keys = [layer[:, 0] for layer in layers]
        self.values = [layer[:, 1] for layer in layers]
        self.places = torch.arange(cache.shape[4], device=self.device)
        self.cos, self.sin = (table[:, None] for table in rotary(self.decoder, self.places, self.wide))

    @torch.inference_mode()
    def prefill(self, ids: Tensor, lengths: list[int]) -> list[Tensor]:
        """Starts of whole sequences, padded on the right where causal attention never looks."""
        found: list[Tensor] = []

        def keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (states.to(self.wide) for states in (q, k, v))
            found.append(torch.stack([k, v], 3).permute(0, 2, 3, 1, 4))
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
        past = self.cache.new_zeros(len(starts), len(decoder.layers), decoder.key_heads, 2, most, decoder.head_dim)
        for row, start in enumerate(starts):
            past[row, ..., : start.shape[3], :] = start
        new = torch.arange(size, device=self.device)
        at = torch.tensor(before, device=self.device)
        known = (torch.arange(most, device=self.device) < at[:, None])[:, None].expand(-1, size, -1)
        seen = torch.cat([known, (new <= new[:, None]).expand(len(starts), -1, -1)], -1)[:, None]
        found: list[Tensor] = []

        def keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            found.append(torch.stack([k, v], 3).permute(0, 2, 3, 1, 4).to(self.wide))
            both = torch.cat([past[:, layer], found[-1]], 3)
            shared = decoder.heads != decoder.key_heads
            q = q.transpose(1, 2).to(self.wide)
            return F.scaled_dot_product_attention(q, both[:, :, 0], both[:, :, 1], seen, enable_gqa=shared).transpose(1, 2)

        hidden_states(decoder, ids, at[:, None] + new, keep)
        whole = torch.stack(found, 1)
        return [torch.cat([start, whole[row, ..., : lengths[row], :]], 3) for row, start in enumerate(starts)]

    def start(self, row: int, length: int) -> Tensor:
        """What a row holds, with memory of its own."""
        return self.cache[:, row, :, :, :length].clone()

    def copy(self, start: Tensor) -> Tensor:
        """A start with memory of its own."""
        return start.clone()

    @torch.inference_mode()
    def fill(self, rows: Tensor, start: Tensor) -> None:
        """These rows begin with the given keys and values."""
        length = start.shape[3]
        self.reserve(length)
        self.cache[:, rows, :, :, :length] = start[:, None]

    @torch.inference_mode()
    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Row source[i] takes the place of row target[i]; none of them is longer than `width`."""
        self.cache[:, target, :, :, :width] = self.cache[:, source, :, :, :width]

    @torch.inference_mode()
    def decode(self, token: np.ndarray, position: np.ndarray) -> Tensor:
        """One token for each of the first n rows -> logits [n, V] of the next; of all slots where they are fixed."""
        if self.fixed:
            token, position = (np.pad(values, (0, self.slots - len(values))) for values in (token, position))
        n, decoder = len(token), self.decoder
        heads, both, keyed = decoder.heads, decoder.heads + decoder.key_heads, n * decoder.key_heads
        at = torch.from_numpy(position).to(self.device)
        views = self._views(position, at)
        cos, sin = self.cos[at], self.sin[at]
        at, row = at.repeat_interleave(decoder.key_heads), torch.arange(keyed, device=self.device)
        x = F.embedding(torch.from_numpy(token).to(self.device), decoder.embedding).to(self.wide)
        for step, keys, values in zip(self.steps, self.keys, self.values, strict=True):
            layer = step.layer
            qkv = step.qkv(norm(x, layer.attention_norm, decoder.eps)).view(n, -1, decoder.head_dim)
            qk = qkv[:, :both]
            if step.qk_norm is not None:
                qk = F.rms_norm(qk, qk.shape[2:], None, decoder.eps).mul_(step.qk_norm)
            qk = rotate(qk, cos, sin)
            keys[row, at] = qk[:, heads:].flatten(0, 1)
            values[row, at] = qkv[:, both:].flatten(0, 1)
            q = qk[:, :heads].reshape(keyed, -1, decoder.head_dim)
            add(x, layer.output, attention(q, keys[:keyed], values[:keyed], views).view(n, -1))
            gate, up = step.gate_up(norm(x, layer.mlp_norm, decoder.eps)).chunk(2, -1)
            add(x, layer.down, F.silu(gate).mul_(up))
        assert decoder.head is not None
        return decoder.head(norm(x, decoder.norm, decoder.eps))

    def _views(self, position: np.ndarray, at: Tensor) -> list["View"]:
        """One view for all rows, as wide as the longest; where slots are fixed, one per class of widths that occurs."""
        widths = [int(position.max()) + 1]
        if self.fixed:
            classes = np.array([width_class(length) for length in (position + 1).tolist()])
            widths = np.unique(classes).tolist()
        self.reserve(widths[-1])
        views = []
        for width in widths:
            hidden = self.places[:width] > at[:, None, None]
            mask = torch.zeros(hidden.shape, dtype=self.wide, device=self.device).masked_fill_(hidden, -torch.inf)
            mask = mask.expand(-1, self.decoder.key_heads, -1).reshape(-1, 1, width)
            rows = None
            if len(widths) > 1:
                rows = torch.from_numpy(classes == width).to(self.device).repeat_interleave(self.decoder.key_heads)[:, None, None]
            views.append(View(width, mask, rows))
        return views


def width_class(length: int) -> int:
    """The power of two, at least 32, that a length is rounded up to."""
    return max(32, 1 << (length - 1).bit_length())


class View(NamedTuple):
    width: int
    mask: Tensor
    """[n * key_heads, 1, width], 0 where a row may look and -inf elsewhere."""
    rows: Tensor | None
    """[n * key_heads, 1, 1] bool: whose attention this is; None: everyone's."""


def attention(q: Tensor, keys: Tensor, values: Tensor, views: list[View]) -> Tensor:
    """q [n * key_heads, heads per key, D] over keys and values [n * key_heads, capacity, D]."""
    out = q
    for width, mask, rows in views:
        scores = torch.baddbmm(mask, q, keys[:, :width].transpose(1, 2), alpha=q.shape[-1] ** -0.5)
        seen = torch.bmm(scores.softmax(-1), values[:, :width])
        out = seen if rows is None else torch.where(rows, seen, out)
    return out


def add(x: Tensor, affine: Affine, y: Tensor) -> None:
    """x += affine(y), in place."""
    if affine.bias is None and affine.weight.dtype == x.dtype:
        x.addmm_(y, affine.weight.t())
    else:
        x += affine(y.to(affine.weight.dtype))
