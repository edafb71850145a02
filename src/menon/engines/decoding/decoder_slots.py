"""Decoding for the Llama family: few operations per layer over one cache of all layers.

The time of a small model is mostly the overhead of calling operations, not arithmetic. So projections of the
same input are one matrix, masks and rotary tables are made once per step for all layers, and residuals are
added in place. On a CPU a model in fp32 or bfloat16 uses `CpuStep`; the steps here use only PyTorch, for a
GPU and for fp64.

Matrix products run in the dtype of the weights, and so do activations of an MLP, as in a learner under
autocast; residuals, norms and attention stay in fp32 (fp64 for fp64 weights), and so do keys and values but
for `CpuStep` (`cache_dtype`).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from menon.engines.decoder import Decoder, causal, hidden_states, norm, rotary, rotate
from menon.engines.decoding.block_cache import BlockCache, View, width_class
from menon.engines.decoding.cpu_step import CpuStep
from menon.engines.decoding.decode_graphs import Graphs, capture_on
from menon.engines.decoding.decode_weights import Product, Ready, cache_dtype, has_kernels, tensors


class DecoderSlots:
    """Keys and values of up to `slots` sequences, and the steps that lengthen them. Rows 0..n-1 are live.

    A start is [layers, 2, key_heads, length, head_dim]: keys and values of a sequence.
    """

    @torch.inference_mode()
    def __init__(self, decoder: Decoder, slots: int, fixed: bool = False) -> None:
        """`fixed`: no operation on a sequence has a shape or an order of sums that depends on a neighbour, so
        its bits do not either. All slots are always computed, beginnings one by one, and attention runs over
        widths that are powers of two; in `CpuStep` over what a row sees, with a softmax whose lanes are
        filled up with zeros."""
        self.given, self.slots, self.fixed = decoder, slots, fixed
        self.device = decoder.embedding.device
        self.has_kernels = has_kernels(decoder)
        self.ready = Ready.of(decoder)
        self.decoder = self.ready.decoder
        self.cpu_step: CpuStep | None = None
        few, like = self.device.type == "cuda", self.decoder.norm.to(cache_dtype(decoder))
        shape = (len(decoder.layers), slots, decoder.key_heads, decoder.head_dim)
        self.cache = BlockCache(*shape, like, few, self.has_kernels and not fixed)
        self._grown()

    @torch.inference_mode()
    def refresh(self) -> None:
        """Makes the copies of norms and matrices again; those that recorded steps read keep their
        addresses."""
        if self.graphs is None:
            self.cpu_step = None
            del self.ready  # first, so that no two copies are held at a time
            self.ready = Ready.of(self.given)
            self.decoder, self.cpu_step = self.ready.decoder, self._cpu_step()
            return
        for mine, now in zip(tensors(self.ready), tensors(Ready.of(self.given)), strict=True):
            if mine.data_ptr() != now.data_ptr():
                mine.copy_(now)

    def reserve(self, width: int) -> None:
        """Makes room for `width` positions."""
        if self.cache.reserve(width):
            self._grown()

    def expect(self, length: int) -> None:
        """Makes room on a CPU, where only what is written to takes memory: a cache that grows later is there
        twice while it is copied."""
        if self.device.type == "cpu":
            self.reserve(length)

    def _grown(self) -> None:
        capture = capture_on(self.device)
        self.graphs = None if capture is None else Graphs(self._step, self.slots, self.device, capture)
        self.places = torch.arange(self.cache.capacity, device=self.device)
        self.cos, self.sin = (
            table[:, None] for table in rotary(self.decoder, self.places, self.decoder.norm.dtype)
        )
        self.cpu_step = self._cpu_step()

    def _cpu_step(self) -> CpuStep | None:
        if not self.has_kernels:
            return None
        return CpuStep(self.ready, self.cache, (self.cos[:, 0], self.sin[:, 0]))

    @torch.inference_mode()
    def prefill(self, ids: Tensor, lengths: list[int]) -> list[Tensor]:
        """Starts of whole sequences, padded on the right where causal attention never looks."""
        found: list[Tensor] = []

        def keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            found.append(self._kept(k, v))
            k, v = (
                found[-1].transpose(2, 3).to(self.decoder.norm.dtype).unbind(1)
            )  # as every later step sees them
            return causal(layer, q.to(self.decoder.norm.dtype), k, v)

        if self.fixed:
            for row, length in enumerate(lengths):
                hidden_states(
                    self.decoder,
                    F.pad(ids[row : row + 1, :length], (0, width_class(length) - length)),
                    attend=keep,
                )
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
        past = self.cache.memory.new_zeros(
            len(starts), len(decoder.layers), 2, decoder.key_heads, most, decoder.head_dim
        )
        for row, start in enumerate(starts):
            past[row, ..., : start.shape[3], :] = start
        new = torch.arange(size, device=self.device)
        at = torch.tensor(before, device=self.device)
        known = (torch.arange(most, device=self.device) < at[:, None])[:, None].expand(-1, size, -1)
        seen = torch.cat([known, (new <= new[:, None]).expand(len(starts), -1, -1)], -1)[:, None]
        found: list[Tensor] = []

        def keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            found.append(self._kept(k, v))
            keys, values = torch.cat([past[:, layer], found[-1]], 3).to(decoder.norm.dtype).unbind(1)
            shared = decoder.heads != decoder.key_heads
            q = q.transpose(1, 2).to(decoder.norm.dtype)
            return F.scaled_dot_product_attention(q, keys, values, seen, enable_gqa=shared).transpose(1, 2)

        hidden_states(decoder, ids, at[:, None] + new, keep)
        whole = torch.stack(found, 1)
        return [torch.cat([start, whole[row, ..., : lengths[row], :]], 3) for row, start in enumerate(starts)]

    def _kept(self, k: Tensor, v: Tensor) -> Tensor:
        """Keys and values [S, L, key_heads, D] of a layer as the cache has them, [S, 2, key_heads, L, D]."""
        return torch.stack([k, v], 1).transpose(2, 3).to(self.cache.memory.dtype)

    def start(self, row: int, length: int) -> Tensor:
        """A copy of the keys and values of a row."""
        return self.cache.start(row, length)

    def copy(self, start: Tensor) -> Tensor:
        """A copy of a start."""
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
    def grow(self, rows: int, width: int) -> None:
        """Makes room for `rows` rows; existing rows keep their first `width` keys and values."""
        if rows > self.slots:
            self.slots = rows
            self.cache.grow(rows, width)
            self._grown()

    @torch.inference_mode()
    def decode(self, token: np.ndarray, position: np.ndarray) -> Tensor:
        """One token for each of the first n rows -> logits [n, V] of the next; of all slots where they are
        fixed. The next call may overwrite them."""
        if self.fixed:
            token, position = (np.pad(values, (0, self.slots - len(values))) for values in (token, position))
        longest = int(position.max()) + 1
        self.reserve(longest)
        self.cache.begin_anew(np.flatnonzero(position == 0))
        if self.cpu_step:
            return self.cpu_step(token, position, self.cache.width(longest))
        widths = self._classes(position) if self.fixed else (self.cache.width(longest),)
        given = torch.from_numpy(np.stack((token, position)))
        if self.graphs:
            return self.graphs(given, widths)[: len(token)]
        return self._step(given.to(self.device), widths)

    def _classes(self, position: np.ndarray) -> tuple[int, ...]:
        """The widths that occur, in ascending order."""
        return tuple(sorted({width_class(length) for length in (position + 1).tolist()}))

    def _step(self, given: Tensor, widths: tuple[int, ...]) -> Tensor:
        """Tokens and positions [2, n] -> logits [n, V], without waiting for the device."""
        token, at, decoder, cache = given[0], given[1], self.decoder, self.cache
        n, heads, both = given.shape[1], decoder.heads, decoder.heads + decoder.key_heads
        views = self._views(at, widths)
        places, cos, sin = cache.places(at), self.cos[at], self.sin[at]
        x = F.embedding(token, decoder.embedding).to(decoder.norm.dtype)
        for index, step in enumerate(self.ready.steps):
            qkv = (
                step.qkv(norm(x, step.attention_norm, decoder.eps)).to(x.dtype).view(n, -1, decoder.head_dim)
            )
            qk = qkv[:, :both]
            if step.qk_norm is not None:
                qk = F.rms_norm(qk, qk.shape[2:], None, decoder.eps).mul_(step.qk_norm)
            qk = rotate(qk, cos, sin)
            cache.write(places[index], qk[:, heads:], qkv[:, both:])
            q = qk[:, :heads].reshape(n * decoder.key_heads, -1, decoder.head_dim)
            output, down = step.output, step.down
            assert isinstance(output, Product)  # packed ones are for `CpuStep`
            assert isinstance(down, Product)
            output.add_to(x, cache.attend(index, q, views).view(n, -1))
            down.add_to(x, step.inner(norm(x, step.mlp_norm, decoder.eps)))
        return self.ready.head(norm(x, decoder.norm, decoder.eps)).to(x.dtype)

    def _views(self, at: Tensor, widths: tuple[int, ...]) -> list[View]:
        """One view for all rows, of the blocks that the longest needs; where slots are fixed, one per class
        of widths."""
        views, below = [], 0
        for width in widths:
            hidden = self.places[:width] > at[:, None, None]
            mask = torch.zeros(hidden.shape, dtype=self.decoder.norm.dtype, device=self.device).masked_fill_(
                hidden, -torch.inf
            )
            rows = None if len(widths) == 1 else (below <= at) & (at < width)
            views.append(self.cache.view(mask, rows))
            below = width
        return views


def renewed(slots: DecoderSlots | None, decoder: Decoder, places: int, fixed: bool) -> DecoderSlots:
    """Slots for `places` sequences with the current weights: those of an earlier stream if they are enough,
    else new ones."""
    if slots is None or slots.slots < places:
        return DecoderSlots(decoder, places, fixed)
    slots.refresh()
    slots.cache.forget(0)
    return slots
