"""The decoding step on a CPU: PyTorch's matrix products, with compiled kernels (`cpu_kernels`) between them.

Its numbers are those of `DecoderSlots._step` up to the order of sums; for few rows it takes less than half
the time. The rows of a large model are divided among threads (`row_threads`).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from menon.engines.decoding.block_cache import BlockCache
from menon.engines.decoding.cpu_kernels import add_rms_norm, array_of, mix, place, score
from menon.engines.decoding.decode_weights import Packed, Ready, weights_of
from menon.engines.decoding.row_threads import in_parts
from menon.engines.decoding.shared_prefix import SharedPrefixes, by_beginning, taken_together
from menon.engines.machine import row_threads


class CpuStep:
    """A decoding step on one cache and on the current weight tensors, whose values may change."""

    def __init__(self, ready: Ready, cache: BlockCache, tables: tuple[Tensor, Tensor], fixed: bool) -> None:
        """`tables`: cosines and sines of all positions, as of `decoder.rotary`. `fixed`: rows are computed
        as they lie, none with another."""
        self.fixed = fixed
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
        n, cache = len(token), self.cache
        rows = np.arange(n) if self.fixed else by_beginning(cache.origin[:n], cache.begun[:n])
        parts = row_threads(self.weights, n)
        found = in_parts(
            lambda part: self._rows(rows[part], token[rows[part]], position[rows[part]], width), n, parts
        )
        logits = found[0] if parts == 1 else torch.cat(found)
        return logits if (rows[:-1] < rows[1:]).all() else logits[torch.from_numpy(np.argsort(rows))]

    def _rows(self, rows: np.ndarray, token: np.ndarray, position: np.ndarray, width: int) -> Tensor:
        """The same for some rows of the cache."""
        decoder, eps, cache = self.decoder, self.eps, self.cache
        norm, place, score, mix = self.kernels
        n, per = len(token), decoder.heads // decoder.key_heads
        x = F.embedding(torch.from_numpy(token), decoder.embedding).to(decoder.norm.dtype)
        q = x.new_empty(decoder.key_heads, n, per, decoder.head_dim)
        scores, mixed = x.new_empty(*q.shape[:3], width), torch.empty_like(q)
        most = rounded(n) if self.packed else n
        h, seen = (torch.zeros(most, size, dtype=self.dtype) for size in (x.shape[1], q[:, 0].numel()))
        residual, normed, queries, sums = (array_of(each) for each in (x, h[:n], q, mixed))
        of_rows = seen[:n].view(n, *mixed.transpose(0, 1).shape[1:])
        runs = [] if self.fixed else taken_together(cache.origin[rows], cache.begun[rows])
        prefixes = SharedPrefixes(runs, rows, cache.borders, self.memory)
        change = normed[:0]
        for step, begins, (attention_norm, qk_norm, mlp_norm) in zip(
            self.steps, cache.begins, self.norms, strict=True
        ):
            where = (rows, position, begins, cache.borders, self.memory)
            norm(residual, change, attention_norm, eps, normed)
            qkv = step.qkv(h).view(most, -1, decoder.head_dim)
            place(array_of(qkv), qk_norm, eps, self.cos, self.sin, queries, *where)
            prefixes.score(q, begins, scores)
            score(queries, prefixes.shared, *where, scores.numpy())
            shares = scores.softmax(-1)
            mix(shares.numpy(), prefixes.shared, *where, sums)
            prefixes.mix(shares, begins, mixed)
            of_rows.copy_(mixed.transpose(0, 1))
            change = array_of(step.output(seen))
            norm(residual, change, mlp_norm, eps, normed)
            change = array_of(step.down(step.inner(h)))
        norm(residual, change, self.norm, eps, normed)
        return self.head(h)[:n]


def rounded(rows: int) -> int:
    """A number of rows for products: no more than an eighth above, and 8 different ones up to each power of
    two. oneDNN compiles a kernel for each number, and keeps a limited number of kernels.

    >>> [rounded(rows) for rows in (1, 15, 17, 33, 64, 100)]
    [1, 15, 18, 36, 64, 104]
    """
    step = 1 << max(0, (rows - 1).bit_length() - 4)
    return -(-rows // step) * step
