"""The decoding step of a small model on one core of a CPU: PyTorch's matrix products, with compiled kernels
(`cpu_kernels`) between them.

Its numbers are those of `DecoderSlots._step` up to the order of sums; for few rows it takes less than half
the time.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from menon.engines.decoder import Decoder
from menon.engines.decoding.block_cache import BlockCache
from menon.engines.decoding.cpu_kernels import array_of, mix, place, rms_norm, score
from menon.engines.decoding.decode_weights import Product, Step


class CpuStep:
    """A decoding step on one cache and on the current weight tensors, whose values may change."""

    def __init__(
        self,
        decoder: Decoder,
        steps: list[Step],
        head: Product,
        cache: BlockCache,
        tables: tuple[Tensor, Tensor],
    ) -> None:
        """`tables`: cosines and sines of all positions, as of `decoder.rotary`."""
        self.decoder, self.steps, self.head, self.cache = decoder, steps, head, cache
        self.dtype = head.weights[0].dtype
        self.kernels = tuple(kernel[self.dtype] for kernel in (rms_norm, place, score, mix))
        self.eps = np.float32(decoder.eps)
        self.cos, self.sin = (array_of(table) for table in tables)
        self.memory = array_of(cache.memory)
        none = np.zeros((0, decoder.head_dim), dtype=np.float32)
        self.norms = [
            (
                array_of(step.attention_norm),
                none if step.qk_norm is None else array_of(step.qk_norm),
                array_of(step.mlp_norm),
            )
            for step in steps
        ]
        self.norm = array_of(decoder.norm)

    def __call__(self, token: np.ndarray, position: np.ndarray, width: int) -> Tensor:
        """Tokens and positions [n], all below `width` -> logits [n, V]."""
        decoder, eps = self.decoder, self.eps
        norm, place, score, mix = self.kernels
        n, kinds = len(token), (decoder.key_heads, decoder.heads // decoder.key_heads)
        x = F.embedding(torch.from_numpy(token), decoder.embedding).to(decoder.norm.dtype)
        h, mixed = torch.empty_like(x, dtype=self.dtype), x.new_empty(n, decoder.heads * decoder.head_dim)
        q, scores = np.empty((n, *kinds, decoder.head_dim), dtype=np.float32), x.new_empty(n, *kinds, width)
        residual, normed = array_of(x), array_of(h)
        for step, begins, (attention_norm, qk_norm, mlp_norm) in zip(
            self.steps, self.cache.begins, self.norms, strict=True
        ):
            where = (position, begins, self.cache.borders, self.memory)
            norm(residual, attention_norm, eps, normed)
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
            step.output.add_to(x, mixed)
            norm(residual, mlp_norm, eps, normed)
            gate, up = step.gate_up(h).chunk(2, -1)
            step.down.add_to(x, F.silu(gate).mul_(up))
        norm(residual, self.norm, eps, normed)
        return self.head(h).to(x.dtype)
