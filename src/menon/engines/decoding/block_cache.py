"""Keys and values of sequences in rows, in blocks of positions."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

SMALLEST, FEWEST = 32, 256
"""Positions of the first block; the second number is for a cache with few blocks."""

LINE = 64
"""Bytes of a cache line."""
WORTH = 1024
"""Positions that rows with the same beginning must spare for it to be held and read once for all of them:
what the calls for it cost."""


@dataclass(frozen=True)
class View:
    """The part of the cache that some rows attend to: the first positions, masked by `masks`."""

    blocks: list[Tensor]
    """[layers, 2, n * key_heads, positions, head_dim] each."""
    masks: tuple[Tensor, ...]
    """For each block [n * key_heads, 1, positions], 0 where a row attends and -inf elsewhere."""
    rows: Tensor | None
    """[n * key_heads, 1, 1] bool: the rows that this view is for; None: all rows."""


class BlockCache:
    """A block holds some positions of all rows and layers, [layers, 2, rows, key_heads, size, head_dim].

    So attention reads memory as one stream. If each row's positions were contiguous and followed by free
    ones, a CPU core would read less than half as fast. The division into blocks is fixed, so results do not
    depend on earlier contents.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        key_heads: int,
        head_dim: int,
        like: Tensor,
        few: bool,
        shares: bool = False,
    ) -> None:
        """The cache has the dtype and device of `like`. `few`: few blocks, for a GPU, on which many short
        operations cost more. `shares`: rows that begin alike may have their beginning in `starts` alone
        (only `CpuStep` reads it there)."""
        self.shape, self.few, self.shares = (layers, 2, rows, key_heads), few, shares
        self.fills = 0
        self.starts: dict[int, Tensor] = {}
        """Beginnings [layers, 2, key_heads, length, head_dim] in fp32, by the `fill` that brought them."""
        self.origin = np.zeros(rows, dtype=np.int64)
        """[rows] the `fill` that a row began with, if its first positions are in `starts`; else 0."""
        self._use(0, like.new_zeros(0, head_dim))

    @property
    def nbytes(self) -> int:
        return self.memory.nbytes

    def width(self, length: int) -> int:
        """The number of positions that attention reads for sequences of this length: whole blocks, as they
        would be on a CPU."""
        return self.edges[bisect_left(self.edges, length)]

    def reserve(self, length: int) -> bool:
        """Makes room for `length` positions. The cache grows by doubling, so that an answer that stops early
        does not take the memory of its limit. True if it grew."""
        if length <= self.capacity:
            return False
        capacity = max(width_class(length), FEWEST if self.few else SMALLEST)
        # Unwritten positions are zero, because a masked NaN would spread.
        memory = zeros(capacity * self.each, self.memory)
        memory[: len(self.memory)] = self.memory
        self._use(capacity, memory)
        return True

    def _use(self, capacity: int, memory: Tensor) -> None:
        self.capacity, self.each = capacity, math.prod(self.shape)
        self.edges = list(accumulate(block_sizes(capacity)))
        self.sizes = block_sizes(capacity, few=self.few)
        self.memory = memory
        pieces = memory.split([size * self.each for size in self.sizes])
        self.blocks = [
            piece.view(*self.shape, size, -1) for piece, size in zip(pieces, self.sizes, strict=True)
        ]
        sizes = np.array(self.sizes, dtype=np.int64)
        self.borders = np.append(0, sizes.cumsum())
        """[blocks + 1]: where blocks begin, and the capacity."""
        self.size = torch.from_numpy(sizes.repeat(sizes)).to(memory.device)
        self.first = torch.from_numpy(self.borders[:-1].repeat(sizes)).to(memory.device)
        """[capacity] each: how large the block of a position is, and which one is its first."""
        layers, two, rows, heads = self.shape
        piece = np.arange(layers * two).reshape(layers, two, 1) * (rows * heads)
        self.begins = self.borders[:-1] * self.each + piece * sizes
        """[layers, 2, blocks]: the row of `memory` where a block of a layer's keys or values begins."""

    def grow(self, rows: int, length: int) -> None:
        """Makes room for `rows` rows, more than there are; existing rows keep their first `length` keys and
        values."""
        since = self._shared(self.origin)
        before, (layers, two, had, heads) = self.first_positions(length, since), self.shape
        self.shape = (layers, two, rows, heads)
        each = math.prod(self.shape)
        self._use(self.capacity, zeros(self.capacity * each, self.memory))
        for old, new in zip(before, self.first_positions(length, since), strict=True):
            new[:, :, :had] = old
        self.origin = np.pad(self.origin, (0, rows - had))

    def fill(self, rows: Tensor, start: Tensor) -> None:
        """These rows begin with [layers, 2, key_heads, length, head_dim]."""
        length = start.shape[3]
        self.reserve(length)
        if self.shares and (len(rows) - 1) * length >= WORTH:
            self.fills += 1
            self.starts[self.fills] = start.to(torch.float32, copy=True).contiguous()
            self.origin[rows.numpy()] = self.fills
            return
        blocks = self.first_positions(length)
        for block, part in zip(blocks, start.split([block.shape[4] for block in blocks], 3), strict=True):
            block[:, :, rows] = part[:, :, None]
        if self.shares:
            self.begin_anew(rows.numpy())

    def begin_anew(self, rows: np.ndarray) -> None:
        """These rows share no beginning."""
        self.origin[rows] = 0

    def forget(self, rows: int) -> None:
        """Drops the beginnings that none of the first rows has."""
        if self.starts:
            needed = set(self.origin[:rows].tolist())
            self.starts = {fill: start for fill, start in self.starts.items() if fill in needed}

    def start(self, row: int, length: int) -> Tensor:
        """A copy of the keys and values of a row."""
        found = torch.cat([block[:, :, row] for block in self.first_positions(length)], 3)
        if (begin := self.starts.get(int(self.origin[row]))) is not None:
            found[..., : begin.shape[3], :] = begin[..., :length, :]
        return found

    def _shared(self, origin: np.ndarray) -> int:
        """How many of their first positions rows of these origins all have in `starts`."""
        lengths = {fill: start.shape[3] for fill, start in self.starts.items()}
        return min((lengths.get(fill, 0) for fill in origin.tolist()), default=0)

    def move(self, source: Tensor, target: Tensor, length: int) -> None:
        """Row source[i] takes the place of row target[i]; none of them is longer than that."""
        since = 0
        if self.shares:
            moved = self.origin[source.numpy()]
            since, self.origin[target.numpy()] = self._shared(moved), moved
        for block in self.first_positions(length, since):
            block[:, :, target] = block[:, :, source]

    def first_positions(self, length: int, since: int = 0) -> list[Tensor]:
        """The blocks that hold the first `length` positions, as views; without those that end at or before
        `since`."""
        begins = accumulate(self.sizes, initial=0)
        return [
            block[..., : length - begin, :]
            for block, begin in zip(self.blocks, begins, strict=False)
            if begin < length and begin + block.shape[4] > since
        ]

    def view(self, mask: Tensor, rows: Tensor | None = None) -> View:
        """The view of the first n rows. `mask`: [n, 1, width]. `rows`: [n] bool, or None for all."""
        n, _, width = mask.shape
        heads = self.shape[3]
        blocks = [block.flatten(2, 3)[:, :, : n * heads] for block in self.first_positions(width)]
        masks = mask.repeat_interleave(heads, 0).split([block.shape[3] for block in blocks], 2)
        return View(blocks, masks, None if rows is None else rows.repeat_interleave(heads)[:, None, None])

    def places(self, position: Tensor) -> Tensor:
        """Indices of the keys and values of one position [n] of each of the first n rows: [layers, 2 * n *
        key_heads]."""
        layers, two, rows, heads = self.shape
        device, n = position.device, position.shape[0]
        size, first = self.size[position], self.first[position]
        piece = torch.arange(layers * two, device=device)[:, None] * (rows * heads) + torch.arange(
            n * heads, device=device
        )
        begin = first * self.each + position - first
        return (begin[:, None] + piece.view(-1, n, heads) * size[:, None]).view(layers, -1)

    def write(self, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Keys and values [n, key_heads, head_dim] of a layer at its places."""
        self.memory.index_copy_(0, places, torch.stack((keys, values)).flatten(0, 2))

    def attend(self, layer: int, q: Tensor, views: list[View]) -> Tensor:
        """q [n * key_heads, heads per key, head_dim] -> the same shape."""
        out, scale = q, q.shape[-1] ** -0.5
        for view in views:
            parts = [block[layer].unbind() for block in view.blocks]
            scores = [
                torch.baddbmm(mask, q, keys.transpose(1, 2), alpha=scale)
                for mask, (keys, _) in zip(view.masks, parts, strict=True)
            ]
            shares = torch.cat(scores, -1).softmax(-1).split([mask.shape[2] for mask in view.masks], 2)
            seen = torch.bmm(shares[0], parts[0][1])
            for share, (_, values) in zip(shares[1:], parts[1:], strict=True):
                seen.baddbmm_(share, values)
            out = seen if view.rows is None else torch.where(view.rows, seen, out)
        return out


def zeros(rows: int, like: Tensor) -> Tensor:
    """[rows, width of `like`] zeros. On a CPU the system gives memory to what is written to alone: of an
    answer that ends early, and of rows that are done while others go on, most never is. It begins at a cache
    line, as PyTorch's own memory does: sums of a product may depend on where its numbers lie."""
    if like.device.type != "cpu":
        return like.new_zeros(rows, like.shape[1])
    size = rows * like.shape[1] * like.element_size()
    memory = torch.from_numpy(np.zeros(size + LINE, dtype=np.uint8))
    begin = -memory.data_ptr() % LINE
    return memory[begin : begin + size].view(like.dtype).view(rows, like.shape[1])


def block_sizes(capacity: int, few: bool = False) -> list[int]:
    """Sizes of the blocks for `capacity` positions, a power of two. A block has a quarter of the largest
    power of two up to its first position, at least 32; with `few` the whole of it, at least 256.

    >>> block_sizes(512), block_sizes(512, few=True)
    ([32, 32, 32, 32, 32, 32, 32, 32, 64, 64, 64, 64], [256, 256])
    """
    sizes: list[int] = []
    while (begin := sum(sizes)) < capacity:
        octave = 1 << max(begin, 1).bit_length() - 1
        sizes.append(max(FEWEST, octave) if few else max(SMALLEST, octave // 4))
    return sizes


def width_class(length: int) -> int:
    """The power of two, at least 32, that a length is rounded up to."""
    return max(SMALLEST, 1 << (length - 1).bit_length())
