"""Arithmetic on packed sequences: values [N] of all tokens in a row, `offset` [S+1] where each sequence
starts.

Sums run per sequence in token order, so a sequence gets the same number alone and among neighbours.
"""

import torch
from torch import Tensor


def lengths(offset: Tensor) -> Tensor:
    """[S] tokens in each sequence."""
    return offset[1:] - offset[:-1]


def owner(offset: Tensor, count: int | None = None) -> Tensor:
    """[N] the sequence that each token belongs to. Pass N as `count` if it is known: reading it from a GPU
    would wait for the GPU."""
    return torch.repeat_interleave(
        torch.arange(len(offset) - 1, device=offset.device), lengths(offset), output_size=count
    )


def spread(values: Tensor, offset: Tensor, count: int | None = None) -> Tensor:
    """[S] -> [N]: every token gets its sequence's value; `count` as for `owner`."""
    return values[owner(offset, count)]


def sum_by(values: Tensor, index: Tensor, count: int) -> Tensor:
    """[count] sums of the values that share an index. Differentiable."""
    return torch.zeros(count, dtype=values.dtype, device=values.device).index_add(0, index, values)


def sequence_sum(values: Tensor, offset: Tensor) -> Tensor:
    """[N] -> [S]."""
    return sum_by(values, owner(offset, len(values)), len(offset) - 1)


def last(mask: Tensor, offset: Tensor) -> Tensor:
    """[S] index of each sequence's last token where the mask holds; -1 where there is none."""
    place = torch.where(mask, torch.arange(len(mask), device=mask.device), -1)
    found = torch.full((len(offset) - 1,), -1, dtype=torch.int64, device=mask.device)
    return found.scatter_reduce(0, owner(offset, len(mask)), place, reduce="amax")


def first(mask: Tensor, offset: Tensor) -> Tensor:
    """[S] index of each sequence's first token where the mask holds; N where there is none."""
    place = torch.where(mask, torch.arange(len(mask), device=mask.device), len(mask))
    found = torch.full((len(offset) - 1,), len(mask), dtype=torch.int64, device=mask.device)
    return found.scatter_reduce(0, owner(offset, len(mask)), place, reduce="amin")


def pad(values: Tensor, offset: Tensor, fill: float = 0) -> Tensor:
    """[N] -> [S, L]: one row per sequence, padded on the right."""
    size = lengths(offset)
    width = int(size.max()) if len(size) else 0
    rows = torch.full((len(size), width), fill, dtype=values.dtype, device=values.device)
    rows[torch.arange(width, device=values.device) < size[:, None]] = values
    return rows


def unpad(rows: Tensor, offset: Tensor) -> Tensor:
    """[S, L] -> [N]: the inverse of `pad`."""
    return rows[torch.arange(rows.shape[1], device=rows.device) < lengths(offset)[:, None]]


def return_to_go(values: Tensor, offset: Tensor, gamma: float | Tensor = 1.0) -> Tensor:
    """[N] sum over t' >= t of gamma^(t'-t) values[t'], within each sequence; gamma is one number or [S]."""
    rows = pad(values, offset)
    total = torch.zeros(len(rows), dtype=values.dtype, device=values.device)
    out = torch.empty_like(rows)
    for t in range(rows.shape[1] - 1, -1, -1):
        total = rows[:, t] + gamma * total
        out[:, t] = total
    return unpad(out, offset)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean where the mask holds; 0 if it holds nowhere. Values outside the mask, NaN included, have no
    effect."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def difference(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """[N] a - b where the mask holds, else 0. Equal infinities differ by 0, without a gradient: a token that
    two policies exclude is no reason to move."""
    return torch.where(mask & ~((a == b) & a.isinf()), a - b, 0)


def centred_product(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """[N] (a - mean a)(b - mean b), means where the mask holds; its mean there is their covariance."""
    return (a - masked_mean(a, mask)) * (b - masked_mean(b, mask))
