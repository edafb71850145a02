"""Log-probs and entropies over a large vocabulary, a few rows at a time, forward and backward. Torch
alone."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 2**25
"""Default for the most logits that exist at once: 128 MiB in fp32."""


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
            part = slice(start, start + size)
            z = _logits(rows[part], weight, bias, temperature)
            most[part] = z.amax(-1)
            raised = z.sub_(most[part, None]).exp()
            total[part] = raised.sum(-1)
            z.sub_(total[part, None].log())
            logp[part] = z.gather(-1, target[part, None])[:, 0]
            if entropy:
                z.clamp_(min=torch.finfo(dtype).min)  # 0 * -inf is NaN
                entropies[part] = -raised.mul_(z).sum(-1) / total[part]
            kept = z if len(rows) <= size and any(ctx.needs_input_grad) else None
        ctx.save_for_backward(rows, weight, bias, target, most, total, entropies, kept)
        ctx.size, ctx.temperature, ctx.entropy = size, temperature, entropy
        return logp, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_logp: Tensor, to_entropy: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias, target, most, total, entropies, kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        to_rows = torch.empty_like(rows) if wanted[0] else None
        to_weight = torch.zeros_like(weight) if wanted[1] else None
        to_bias = torch.zeros_like(bias) if wanted[2] else None
        for start in range(0, len(rows), ctx.size):
            part = slice(start, start + ctx.size)
            if kept is None:  # in two steps: the rounding errors are then those of small numbers
                z = (
                    _logits(rows[part], weight, bias, ctx.temperature)
                    .sub_(most[part, None])
                    .sub_(total[part, None].log())
                )
            else:
                z = kept.clone()
            if ctx.entropy:
                z.clamp_(min=torch.finfo(z.dtype).min)
                p = z.exp()
                slope = (
                    z.add_(entropies[part, None])
                    .mul_(-to_entropy[part, None])
                    .sub_(to_logp[part, None])
                    .mul_(p)
                )
            else:
                slope = z.exp_().mul_(-to_logp[part, None])
            slope.scatter_add_(1, target[part, None], to_logp[part, None])
            slope = slope.div_(ctx.temperature)
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
        return to_rows, to_weight, to_bias, None, None, None, None


def _logits(rows: Tensor, weight: Tensor | None, bias: Tensor | None, temperature: float) -> Tensor:
    """[n, V] logits in a new tensor. The head runs in the dtype of its weights, outside of autocast: logits
    rounded to bf16 would be noise in every ratio."""
    if weight is None:
        return rows.to(wide(rows.dtype)) / temperature
    z = torch.nn.functional.linear(rows.to(weight.dtype), weight, bias)
    return z.to(wide(z.dtype)).div_(temperature)
