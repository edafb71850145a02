"""A batch as its distinct tokens, and attention over them. Torch and numpy alone.

With causal attention a token's state depends only on the tokens up to it. So sequences with a common prefix
(the answers to one prompt, the branches of a tree) share the states of that prefix, and these are computed
once: linear layers, norms and MLP run over one flat row of distinct tokens, without padding. Only attention
works on sequences.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, sent
from menon.engines.decoder import Attend, causal, masked

LEAST_ROWS = 16
"""The fewest sequences that one call of attention takes: with fewer, the calls cost more than the padding
that they save."""
PADDING = 1.25
"""The largest ratio of padded to true tokens in one call of attention."""
SPARED = 32
"""The fewest tokens of a beginning whose queries a sequence leaves to an earlier one: with fewer, the masks
cost more."""


@dataclass(frozen=True)
class Rows:
    """Sequences of about one length, padded on the right: L tokens, of which the last Q attend."""

    query: Tensor
    """[R * Q] the distinct token in each cell of a grid, read row by row; any one in the padding."""
    key: Tensor
    """[R * L]; the same as `query` where all tokens attend."""
    shape: tuple[int, int, int]
    """R, Q, L."""
    before: Tensor | None = None
    """[R] tokens before the first that attends; None: there are none."""

    def to(self, device: torch.device) -> "Rows":
        before = None if self.before is None else sent(self.before, device)
        return replace(self, query=sent(self.query, device), key=sent(self.key, device), before=before)

    def mask(self, dtype: torch.dtype, heads: int) -> Tensor:
        """[R, 1, heads * Q, L] 0 where a token sees another and -inf elsewhere, for so many heads."""
        assert self.before is not None
        _, queries, keys = self.shape
        place = torch.arange(max(queries, keys), device=self.before.device)
        hidden = place[:keys] > self.before[:, None, None] + place[:queries, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)
        return mask.repeat(1, heads, 1)[:, None]


@dataclass(frozen=True)
class Packed:
    """M distinct tokens of a batch of N."""

    token: Tensor
    """[M]"""
    position: Tensor
    """[M]"""
    place: Tensor
    """[N] the distinct token that each token of the batch is; -1 where its state is not needed."""
    used: Tensor
    """[U] `place` without the -1: the tokens that are needed, sequence after sequence."""
    first: Tensor
    """[M] the first index in `used` of each distinct token."""
    offset: Tensor
    """[S+1] bounds of the sequences in `used`."""

    def rows(self, spare: bool) -> tuple[list[Rows], Tensor]:
        """Grids of sequences of similar length; [M] the cell among the queries that holds each distinct
        token, counted through all grids. With `spare` a long beginning that an earlier sequence has too is
        asked for no queries again."""
        size = ragged.lengths(self.offset)
        number = torch.arange(len(self.used), device=size.device)
        new = ragged.sequence_sum((self.first[self.used] == number).long(), self.offset)
        before = size - new  # what is not new is a beginning
        long = (
            (before >= SPARED) & (2 * before >= size) if spare else torch.zeros_like(size, dtype=torch.bool)
        )
        order = torch.argsort(size, stable=True)
        grids: list[Rows] = []
        cell_of_used = torch.zeros_like(self.used)
        cells = 0
        for begins_later in (False, True):
            mine = order[(long == begins_later)[order] & (new > 0)[order]]
            for run in alike(size[mine].tolist()):
                rows = mine[run]
                first = before[rows] if begins_later else torch.zeros_like(rows)
                query, used = self._grid(rows, first)
                key = self._grid(rows, torch.zeros_like(rows))[0] if begins_later else query
                inside = torch.arange(query.shape[1], device=size.device) < (size[rows] - first)[:, None]
                cell_of_used[used] = cells + inside.flatten().nonzero()[:, 0]
                shape = (len(rows), query.shape[1], key.shape[1])
                grids.append(Rows(query.flatten(), key.flatten(), shape, first if begins_later else None))
                cells += query.numel()
        return grids, cell_of_used[self.first]

    def _grid(self, rows: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """[R, L] the distinct tokens of some sequences, each from its token `first` [R] on, and 0 in the
        padding; the indices in `used` of those outside of it."""
        size = ragged.lengths(self.offset)[rows] - first
        column = torch.arange(int(size.max()), device=size.device)
        inside = column < size[:, None]
        used = ((self.offset[:-1][rows] + first)[:, None] + column)[inside]
        grid = torch.zeros(inside.shape, dtype=torch.int64, device=size.device)
        grid[inside] = self.used[used]
        return grid, used


def alike(lengths: list[int]) -> list[slice]:
    """Cuts ascending lengths into runs with little padding. Empty sequences are in none.

    >>> alike([0] + [5] * 16 + [40] * 3)
    [slice(1, 17, None), slice(17, 20, None)]
    """
    runs: list[slice] = []
    start = next((row for row, length in enumerate(lengths) if length), len(lengths))
    total = 0
    for row in range(start, len(lengths)):
        total += lengths[row]
        if row - start >= LEAST_ROWS and (row + 1 - start) * lengths[row] > PADDING * total:
            runs.append(slice(start, row))
            start, total = row, lengths[row]
    return [*runs, slice(start, len(lengths))] if start < len(lengths) else runs


def pack_distinct(batch: Batch, needed: Tensor) -> Packed:
    """The distinct tokens on which the states at `needed` ([N] bool) depend."""
    number = torch.arange(batch.num_tokens, device=needed.device)
    inside = number <= ragged.spread(ragged.last(needed, batch.offset), batch.offset)
    kept = ragged.sequence_sum(inside.long(), batch.offset)
    offset = torch.cat([kept.new_zeros(1), kept.cumsum(0)])
    token = batch.token[inside]
    used = distinct(token, offset)
    first = torch.full((int(used.max()) + 1 if len(used) else 0,), len(used), device=used.device)
    first = first.scatter_reduce(0, used, torch.arange(len(used), device=used.device), reduce="amin")
    place = torch.full_like(number, -1)
    place[inside] = used
    return Packed(token[first], batch.position[inside][first], place, used, first, offset)


def distinct(token: Tensor, offset: Tensor) -> Tensor:
    """[N] a number from 0 on for each token: the same where everything up to it and itself is the same.

    >>> distinct(torch.tensor([7, 8, 9, 7, 5, 7, 8, 9, 4]), torch.tensor([0, 3, 5, 9])).tolist()
    [0, 2, 3, 0, 1, 0, 2, 3, 4]
    """
    size = ragged.lengths(offset).cpu().numpy()
    grid = ragged.pad(token, offset, -1).cpu().numpy()
    if not grid.size:
        return token.new_zeros(0)
    order = np.lexsort(grid.T[::-1])  # sequences with a common prefix become neighbours
    back = np.argsort(order)
    grid, real = grid[order], np.arange(grid.shape[1]) < size[order, None]
    fresh = real.copy()
    fresh[1:] &= ~np.logical_and.accumulate(grid[1:] == grid[:-1], axis=1)
    number = np.where(fresh, fresh.cumsum().reshape(fresh.shape) - 1, -1)
    number = np.maximum.accumulate(
        number, axis=0
    )  # a prefix that occurred already has the newest number in the row above
    return torch.from_numpy(number[back][real[back]]).to(token.device)


def attention(packed: Packed, head_dim: int, device: torch.device, autocast: torch.dtype | None) -> Attend:
    """q [M, heads, D], k and v [M, key_heads, D] -> [M, heads, D] on that device, every sequence on its
    own."""
    if autocast is not None and _has_packed_kernel(device, head_dim):
        return _variable_length(packed, device, autocast)
    grids, cell = packed.rows(spare=device.type == "cpu")
    grids, cell = [rows.to(device) for rows in grids], sent(cell, device)

    @cache
    def masks(dtype: torch.dtype, heads: int) -> list[Tensor | None]:
        return [None if rows.before is None else rows.mask(dtype, heads) for rows in grids]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed = []
        for rows, mask in zip(grids, masks(q.dtype, q.shape[1] // k.shape[1]), strict=True):
            count, queries, keys = rows.shape
            Q = pick(q, rows.query).unflatten(0, (count, queries))
            K, V = (pick(states, rows.key).unflatten(0, (count, keys)) for states in (k, v))
            found = causal(layer, Q, K, V) if mask is None else masked(Q, K, V, mask)
            mixed.append(found.flatten(0, 1))
        return pick(torch.cat(mixed), cell) if mixed else q

    return attend


def _has_packed_kernel(device: torch.device, head_dim: int) -> bool:
    """Flash attention runs from Ampere on, and on heads of a multiple of 8 numbers up to 256."""
    fits = device.type == "cuda" and head_dim % 8 == 0 and head_dim <= 256
    return fits and torch.cuda.get_device_capability(device) >= (8, 0)


def _variable_length(packed: Packed, device: torch.device, dtype: torch.dtype) -> Attend:
    """Attention by the packed kernel of a GPU, which supports only half precision."""
    from torch.nn.attention.varlen import varlen_attn

    longest = int(ragged.lengths(packed.offset).max()) if len(packed.used) else 0
    offset, used, first = (sent(index, device) for index in (packed.offset.int(), packed.used, packed.first))

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not longest:  # the kernel takes no batch without a token
            return q
        q, k, v = (pick(states.to(dtype), used) for states in (q, k, v))
        shared = k.shape[1] != q.shape[1]
        mixed: Any = varlen_attn(
            q, k, v, offset, offset, longest, longest, window_size=(-1, 0), enable_gqa=shared
        )
        return pick(mixed, first)

    return attend


def pick(rows: Tensor, index: Tensor) -> Tensor:
    """rows[index] along the first dimension, with a gradient that adds up in a fixed order: on a CPU
    `index_select` is many times faster, on a GPU only indexing is deterministic."""
    return (
        rows[index] if rows.is_cuda else rows.flatten(1).index_select(0, index).unflatten(1, rows.shape[1:])
    )
