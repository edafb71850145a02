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
from menon.engines.decoding.decode_weights import Ready, all_matrices
from menon.engines.decoding.row_threads import in_parts
from menon.engines.machine import workers


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
        size = sum(weight.numel() for weight in all_matrices(self.decoder))
        self.alone = workers(size, self.decoder.embedding.device) > 1
        """Whether other processes, and not threads, take part of the rows."""

    def __call__(self, token: np.ndarray, position: np.ndarray, width: int) -> Tensor:
        """Tokens and positions [n], all below `width` -> logits [n, V], in the dtype of the weights."""
        parts = 1 if self.alone else min(torch.get_num_threads(), len(token))
        found = in_parts(
            lambda rows: self._rows(rows.start, token[rows], position[rows], width), len(token), parts
        )
        return found[0] if parts == 1 else torch.cat(found)

    def _rows(self, first: int, token: np.ndarray, position: np.ndarray, width: int) -> Tensor:
        """The same for the cache's rows from `first` on."""
        decoder, eps = self.decoder, self.eps
        norm, place, score, mix = self.kernels
        n, kinds = len(token), (decoder.key_heads, decoder.heads // decoder.key_heads)
        x = F.embedding(torch.from_numpy(token), decoder.embedding).to(decoder.norm.dtype)
        h, mixed = torch.empty_like(x, dtype=self.dtype), x.new_empty(n, decoder.heads * decoder.head_dim)
        q, scores = np.empty((n, *kinds, decoder.head_dim), dtype=np.float32), x.new_empty(n, *kinds, width)
        residual, normed, nothing = array_of(x), array_of(h), array_of(h[:0])
        skipped = first * decoder.key_heads * np.diff(self.cache.borders)
        change = nothing
        for step, begins, (attention_norm, qk_norm, mlp_norm) in zip(
            self.steps, self.cache.begins, self.norms, strict=True
        ):
            where = (position, begins + skipped, self.cache.borders, self.memory)
            norm(residual, change, attention_norm, eps, normed)
            place(
                array_of(step.qkv(h).view(n, -1, decoder.head_dim)),
                qk_norm,
                eps,
                self.cos,
                self.sin,
                q,
                *where,
            )
            score(q, *where, scores.numpy())
            mix(scores.softmax(-1).numpy(), *where, mixed.view(q.shape).numpy())
            change = array_of(step.output(mixed.to(self.dtype)))
            norm(residual, change, mlp_norm, eps, normed)
            change = array_of(step.down(step.inner(h)))
        norm(residual, change, self.norm, eps, normed)
        return self.head(h)
