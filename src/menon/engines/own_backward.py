"""Operations of a learner on a CPU with a backward pass of their own. Torch alone.

A CPU has no fused RMSNorm: PyTorch's takes some thirty passes over the states, forward and backward, and
keeps three copies of them. And PyTorch makes the gradient of a weight in new memory and then adds it to the
one before: with many small passes of a large model that moves as many bytes again as the passes need, and an
embedding that is also the head has three gradients at a time. Within `adding_gradients`, products and
embeddings add to `weight.grad` where it is, and keep less.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ADDING = ContextVar("adding", default=False)


@contextmanager
def adding_gradients() -> Iterator[None]:
    """For forward and backward passes of one update whose gradients `backward` adds up: those of leaves that
    have a `grad` already are added to it in place. `torch.autograd.grad` does not see them."""
    token = _ADDING.set(True)
    try:
        yield
    finally:
        _ADDING.reset(token)


def adds_to(weight: Tensor | None) -> bool:
    """Whether a backward pass adds the gradient of this weight in place."""
    return _ADDING.get() and weight is not None and weight.is_leaf and weight.grad is not None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (arXiv 1910.07467); x and weight are of one
    dtype."""
    if x.device.type != "cpu":
        return F.rms_norm(x, weight.shape, weight, eps)
    normed: Tensor = _Norm.apply(x, weight, eps)
    return normed


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias."""
    if not _ADDING.get() or bias is not None or torch.is_autocast_enabled(x.device.type):
        return F.linear(x, weight, bias)
    product: Tensor = _Product.apply(x, weight)
    return product


def gated_linear(gate: Tensor, up: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(SiLU(gate) * up) @ weight.T + bias; of the four tensors of this size two are kept."""
    if not _ADDING.get() or bias is not None or torch.is_autocast_enabled(gate.device.type):
        return F.linear(F.silu(gate) * up, weight, bias)
    product: Tensor = _GatedProduct.apply(gate, up, weight)
    return product


def embedded(ids: Tensor, weight: Tensor) -> Tensor:
    """weight[ids]"""
    if not _ADDING.get():
        return F.embedding(ids, weight)
    if torch.is_grad_enabled() and weight.requires_grad and weight.is_leaf and weight.grad is None:
        weight.grad = torch.zeros_like(weight)  # now, so that a head of the same weight adds to it too
    rows: Tensor = _Embedded.apply(ids, weight)
    return rows


class _Norm(torch.autograd.Function):
    """With r = 1 / sqrt(mean(x^2) + eps), n = x r and h = n weight:

    dx = r (dh weight - n mean(dh weight n)),   dweight = sum over rows of dh n.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = scale.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        ctx.eps = eps
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is differentiated too, as by a natural gradient
            wanted = [each for each in (x, weight) if each.requires_grad]
            again = F.rms_norm(x, weight.shape, weight, ctx.eps)
            found = iter(torch.autograd.grad(again, wanted, slope, create_graph=True))
            return *(next(found) if each.requires_grad else None for each in (x, weight)), None
        normed = x * scale
        product = slope * normed
        to_weight = product.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, to_weight, None
        mean = (product @ weight).div_(x.shape[-1])
        return torch.addcmul(slope * weight, normed, mean[..., None], value=-1).mul_(scale), to_weight, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x = slope @ weight if ctx.needs_input_grad[0] else None
        return to_x, _to_weight(weight, slope, x) if ctx.needs_input_grad[1] else None


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up, weight)
        return F.linear(F.silu(gate).mul_(up), weight)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, weight = ctx.saved_tensors
        silu, inner = F.silu(gate), slope @ weight
        to_weight = _to_weight(weight, slope, silu * up) if ctx.needs_input_grad[2] else None
        return torch.ops.aten.silu_backward(inner * up, gate), inner.mul_(silu), to_weight


def _to_weight(weight: Tensor, slope: Tensor, x: Tensor) -> Tensor | None:
    """The gradient of the weight of x @ weight.T; None where it is added to the one before."""
    slopes, rows = slope.flatten(0, -2).t(), x.flatten(0, -2)
    if not adds_to(weight):
        return slopes @ rows
    assert weight.grad is not None
    weight.grad.addmm_(slopes, rows)
    return None


class _Embedded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(ids, weight)
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        ids, weight = ctx.saved_tensors
        if not ctx.needs_input_grad[1]:
            return None, None
        in_place = adds_to(weight)
        gradient = weight.grad if in_place else torch.zeros_like(weight)
        gradient.index_add_(0, ids.flatten(), slope.flatten(0, -2).to(gradient.dtype))
        return None, None if in_place else gradient
