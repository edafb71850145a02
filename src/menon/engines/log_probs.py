"""Log-probs and entropies over a large vocabulary, a few rows at a time, forward and backward. Torch
alone."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from menon.engines.own_backward import adds_to

CHUNK = 2**25
"""Default for the most logits that exist at once: 128 MiB in fp32."""
NEAR = 2**20
"""Logits that a CPU takes through all operations between two matrix products before the next ones, so that
they stay in its cache."""


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of log-softmax and of every column: fp32, or fp64 for fp64 weights."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def log_probs(
    rows: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    chunk: int = CHUNK,
    entropy: bool = False,
) -> tuple[Tensor, Tensor]:
    """[A] log p(target) and [A] entropies (nats; zeros unless asked for) of p = softmax(z), z = rows @
    weight.T + bias over temperature.

    `rows` is [A, d] and `weight` [V, d]; without a weight the rows are [A, V] logits. At most `chunk`
    elements of z exist at once (but at least one row). If that is less than all of z, the backward pass
    computes z again instead of keeping it. With p = softmax(z), log p = z - logsumexp(z) and H = -sum p log
    p:

        d log p[t] / dz[j] = [j = t] - p[j],   dH / dz[j] = -p[j] (log p[j] + H).

    Differentiable once.
    """
    logp, entropies = _LogProbs.apply(rows, weight, bias, target, temperature, chunk, entropy)
    return logp, entropies


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        target: Tensor,
        temperature: float,
        chunk: int,
        entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        vocabulary = rows.shape[1] if weight is None else weight.shape[0]
        size = max(1, chunk // max(1, vocabulary))
        dtype = wide(rows.dtype if weight is None else weight.dtype)
        logp, most, total, entropies = (
            torch.zeros(len(rows), dtype=dtype, device=rows.device) for _ in range(4)
        )
        kept = None
        for start in range(0, len(rows), size):
            whole = _logits(rows[start : start + size], weight, bias, temperature)
            for part, z in _near(whole, start):
                most[part] = z.amax(-1)
                raised = z.sub_(most[part, None]).exp()
                total[part] = raised.sum(-1)
                z.sub_(total[part, None].log())
                logp[part] = z.gather(-1, target[part, None])[:, 0]
                if entropy:
                    z.clamp_(min=torch.finfo(dtype).min)  # 0 * -inf is NaN
                    entropies[part] = -raised.mul_(z).sum(-1) / total[part]
            kept = whole if len(rows) <= size and any(ctx.needs_input_grad) else None
        ctx.save_for_backward(rows, weight, bias, target, most, total, entropies, kept)
        ctx.size, ctx.temperature, ctx.entropy = size, temperature, entropy
        return logp, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_logp: Tensor, to_entropy: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias, target, most, total, entropies, kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        to_rows = torch.empty_like(rows) if wanted[0] else None
        in_place = wanted[1] and adds_to(weight)
        to_weight = (weight.grad if in_place else torch.zeros_like(weight)) if wanted[1] else None
        to_bias = torch.zeros_like(bias) if wanted[2] else None
        for start in range(0, len(rows), ctx.size):
            part = slice(start, start + ctx.size)
            if kept is None:
                slope = _logits(rows[part], weight, bias, ctx.temperature)
            else:  # in place where no second backward pass can follow
                slope = kept if in_place else kept.clone()
            for near, z in _near(slope, start):
                if kept is None:  # in two steps: the rounding errors are then those of small numbers
                    z.sub_(most[near, None]).sub_(total[near, None].log())
                if ctx.entropy:
                    z.clamp_(min=torch.finfo(z.dtype).min)
                    p = z.exp()
                    z.add_(entropies[near, None]).mul_(-to_entropy[near, None])
                    z.sub_(to_logp[near, None]).mul_(p)
                else:
                    z.exp_().mul_(-to_logp[near, None])
                z.scatter_add_(1, target[near, None], to_logp[near, None])
                if ctx.temperature != 1:
                    z.div_(ctx.temperature)
            if weight is None:
                if to_rows is not None:
                    to_rows[part] = slope
                continue
            slope = slope.to(weight.dtype)
            if to_rows is not None:
                to_rows[part] = slope @ weight
            if to_weight is not None:
                to_weight.addmm_(slope.T, rows[part].to(weight.dtype))
            if to_bias is not None:
                to_bias += slope.sum(0)
        return to_rows, None if in_place else to_weight, to_bias, None, None, None, None


def _near(z: Tensor, start: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of z in turn, as views, and their places where the first one is `start`."""
    few = len(z) if z.is_cuda else max(1, NEAR // max(1, z.shape[1]))
    for first in range(0, len(z), max(1, few)):
        rows = z[first : first + few]
        yield slice(start + first, start + first + len(rows)), rows


def _logits(rows: Tensor, weight: Tensor | None, bias: Tensor | None, temperature: float) -> Tensor:
    """[n, V] logits in a new tensor. The head runs in the dtype of its weights, outside of autocast: logits
    rounded to bf16 would be noise in every ratio."""
    if weight is None:
        return rows.to(wide(rows.dtype)) / temperature
    z = torch.nn.functional.linear(rows.to(weight.dtype), weight, bias)
    z = z.to(wide(z.dtype))
    return z if temperature == 1 else z.div_(temperature)
