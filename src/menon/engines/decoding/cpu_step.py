"""The decoding step on a CPU: PyTorch's matrix products, with compiled kernels (`cpu_kernels`) between them.

Its numbers are those of `DecoderSlots._step` up to the order of sums; for few rows it takes less than half
the time. Of a large model, threads share each product, so that its weights are read once, and attention is
divided among them by rows (`row_threads`).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from menon.engines.decoding.block_cache import BlockCache
from menon.engines.decoding.cpu_kernels import add_rms_norm, array_of, mix, place, score
from menon.engines.decoding.decode_weights import Packed, Ready, weights_of
from menon.engines.decoding.row_threads import in_threads, slices
from menon.engines.decoding.shared_prefix import SharedPrefixes, by_beginning, taken_together
from menon.engines.machine import row_threads

DIVIDED = 2048
"""Positions that all rows together attend to, from which on their attention is divided among threads: with
fewer, handing it over takes longer."""


class CpuStep:
    """A decoding step on one cache and on the current weight tensors, whose values may change."""

    def __init__(self, ready: Ready, cache: BlockCache, tables: tuple[Tensor, Tensor]) -> None:
        """`tables`: cosines and sines of all positions, as of `decoder.rotary`."""
        self.decoder, self.steps, self.head, self.cache = ready.decoder, ready.steps, ready.head, cache
        self.dtype = self.decoder.embedding.dtype
        self.kernels = tuple(kernel[self.dtype] for kernel in (add_rms_norm, place, score, mix))
        self.eps = np.float32(self.decoder.eps)
        self.cos, self.sin = (array_of(table) for table in tables)
        self.memory = array_of(cache.memory)
        self.packed = type(self.head) is Packed
        none = np.zeros((0, self.decoder.head_dim), dtype=np.float32)
        self.norms = [
            (
                array_of(step.attention_norm),
                none if step.qk_norm is None else array_of(step.qk_norm),
                array_of(step.mlp_norm),
            )
            for step in self.steps
        ]
        self.norm = array_of(self.decoder.norm)
        self.weights = weights_of(self.decoder)

    def __call__(self, token: np.ndarray, position: np.ndarray, width: int) -> Tensor:
        """Tokens and positions [n], all below `width` -> logits [n, V], in the dtype of the weights."""
        decoder, eps, cache, norm = self.decoder, self.eps, self.cache, self.kernels[0]
        n = len(token)
        cache.forget(n)
        rows = by_beginning(cache.origin[:n], cache.starts)
        x = F.embedding(torch.from_numpy(token[rows]), decoder.embedding).to(decoder.norm.dtype)
        most = rounded(n) if self.packed else n
        wide = decoder.heads * decoder.head_dim
        h, seen = (torch.zeros(most, size, dtype=self.dtype) for size in (x.shape[1], wide))
        residual, normed = array_of(x), array_of(h[:n])
        threads = row_threads(self.weights, n) if n * width >= DIVIDED else 1
        parts = [
            Part(self, part, rows[part], position[rows[part]], width, seen) for part in slices(n, threads)
        ]
        change = normed[:0]
        for layer, (step, (attention_norm, qk_norm, mlp_norm)) in enumerate(
            zip(self.steps, self.norms, strict=True)
        ):
            norm(residual, change, attention_norm, eps, normed)
            qkv = step.qkv(h).view(most, -1, decoder.head_dim)
            if len(parts) == 1:
                parts[0].attend(layer, qkv, qk_norm)
            else:
                in_threads(lambda part: part.attend(layer, qkv, qk_norm), parts)  # noqa: B023 (it waits)
            change = array_of(step.output(seen))
            norm(residual, change, mlp_norm, eps, normed)
            change = array_of(step.down(step.inner(h)))
        norm(residual, change, self.norm, eps, normed)
        if not (rows[:-1] < rows[1:]).all():
            h[torch.from_numpy(rows)] = h[:n].clone()
        return self.head(h)[:n]


class Part:
    """Rows of a step whose attention one thread computes."""

    def __init__(
        self,
        step: CpuStep,
        part: slice,
        rows: np.ndarray,
        position: np.ndarray,
        width: int,
        out: Tensor,
    ) -> None:
        """`part`: their places in the order of the step; `rows` of the cache, at `position`; `out` [n, heads
        * D] gets what the queries find."""
        self.step, self.part, n, decoder = step, part, len(rows), step.decoder
        per = decoder.heads // decoder.key_heads
        self.q = torch.empty(decoder.key_heads, n, per, decoder.head_dim, dtype=decoder.norm.dtype)
        self.scores, self.mixed = self.q.new_empty(*self.q.shape[:3], width), torch.empty_like(self.q)
        self.arrays = tuple(array_of(each) for each in (self.q, self.scores, self.mixed))
        self.out = out[part].view(n, *self.mixed.transpose(0, 1).shape[1:])
        self.prefixes = SharedPrefixes(taken_together(step.cache.origin[rows], step.cache.starts), n)
        self.rows, self.position = rows, position

    def attend(self, layer: int, qkv: Tensor, qk_norm: np.ndarray) -> None:
        """Writes keys and values of `qkv` [n, heads + 2 * key_heads, D] of a layer, and attends."""
        step, prefixes, cache = self.step, self.prefixes, self.step.cache
        _, place, score, mix = step.kernels
        queries, scores, sums = self.arrays
        where = (self.rows, self.position, cache.begins[layer], cache.borders, step.memory)
        place(array_of(qkv[self.part]), qk_norm, step.eps, step.cos, step.sin, queries, *where)
        prefixes.score(self.q, layer, self.scores)
        score(queries, prefixes.shared, *where, scores)
        shares = self.scores.softmax(-1)
        mix(shares.numpy(), prefixes.shared, *where, sums)
        prefixes.mix(shares, layer, self.mixed)
        self.out.copy_(self.mixed.transpose(0, 1))


def rounded(rows: int) -> int:
    """A number of rows for products: no more than an eighth above, and 8 different ones up to each power of
    two. oneDNN compiles a kernel for each number, and keeps a limited number of kernels.

    >>> [rounded(rows) for rows in (1, 15, 17, 33, 64, 100)]
    [1, 15, 18, 36, 64, 104]
    """
    step = 1 << max(0, (rows - 1).bit_length() - 4)
    return -(-rows // step) * step
