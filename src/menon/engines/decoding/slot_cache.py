"""Keys and values of many sequences of different lengths: one row (a slot) per sequence, written at its own
position.

A `transformers` cache, so that any causal LM can decode with it through its own forward.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin

Start = list[tuple[Tensor, Tensor]]
"""Keys and values [heads, length, dim] of one sequence, per layer."""


class Cursor:
    """Where the next forward pass writes: shared by all layers."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.position_n = torch.zeros(0, dtype=torch.int64)
        """[n] position of the token that each of the first n rows gets."""
        self.row_n = torch.zeros(0, dtype=torch.int64)
        self.width = 0
        """The number of positions that any of these rows attends to."""


class SlotLayer(CacheLayerMixin):
    """Keys and values [slots, heads, capacity, dim] of one layer. Unwritten positions are zero, because a
    masked NaN would spread."""

    keys: Tensor
    values: Tensor

    def __init__(self, cursor: Cursor) -> None:
        super().__init__()
        self.cursor = cursor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        def room(states: Tensor) -> Tensor:
            return states.new_zeros(self.cursor.slots, states.shape[-3], 0, states.shape[-1])

        self.keys, self.values = room(key_states), room(value_states)
        self.is_initialized = True

    def reserve(self, width: int) -> None:
        """Makes room for `width` positions. The cache grows by doubling, so that an answer that stops early
        does not take the memory of its limit."""
        have = self.keys.shape[2]
        if width > have:
            more = max(width, 2 * have) - have
            self.keys = torch.nn.functional.pad(self.keys, (0, 0, 0, more))
            self.values = torch.nn.functional.pad(self.values, (0, 0, 0, more))

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Writes one token per row; returns the keys and values that the rows attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        at = self.cursor
        self.reserve(at.width)
        self.keys[at.row_n, :, at.position_n] = key_states[:, :, 0]
        self.values[at.row_n, :, at.position_n] = value_states[:, :, 0]
        rows = len(at.row_n)
        return self.keys[:rows, :, : at.width], self.values[:rows, :, : at.width]

    def fill(self, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        length = keys.shape[1]
        self.reserve(length)
        self.keys[rows, :, :length] = keys
        self.values[rows, :, :length] = values

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        self.keys[target, :, :width] = self.keys[source, :, :width]
        self.values[target, :, :width] = self.values[source, :, :width]

    def grow(self, rows: int) -> None:
        """Room for so many rows; those that are there keep their keys and values."""
        if self.is_initialized and rows > len(self.keys):
            more = (0, 0, 0, 0, 0, 0, 0, rows - len(self.keys))
            self.keys = torch.nn.functional.pad(self.keys, more)
            self.values = torch.nn.functional.pad(self.values, more)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cursor.width, 0

    def get_seq_length(self) -> int:
        return max(0, self.cursor.width - 1)

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """Rows 0..n-1 are live; layers appear as the model first writes to them."""

    layers: list[Any]  # of SlotLayer; the base class knows other kinds besides

    def __init__(self, slots: int) -> None:
        self.cursor = Cursor(slots)
        make: Any = partial(SlotLayer, self.cursor)
        super().__init__(layer_class_to_replicate=make)

    def aim(self, position_n: Tensor, width: int) -> None:
        """The next forward pass writes row i at `position_n[i]`; `width` is the largest of them plus 1."""
        self.cursor.position_n = position_n
        self.cursor.row_n = torch.arange(len(position_n), device=position_n.device)
        self.cursor.width = width

    def fill(self, rows: Tensor, start: Start) -> None:
        """These rows begin with the given keys and values."""
        for index, (keys, values) in enumerate(start):
            if index == len(self.layers):
                self.layers.append(SlotLayer(self.cursor))
            self.layers[index].fill(rows, keys, values)

    def grow(self, rows: int) -> None:
        """Room for so many rows; those that are there keep their keys and values."""
        self.cursor.slots = max(rows, self.cursor.slots)
        for layer in self.layers:
            layer.grow(rows)

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Row source[i] takes the place of row target[i]; none of them is longer than `width`."""
        for layer in self.layers:
            layer.move(source, target, width)


def starts(cache: DynamicCache, lengths: list[int]) -> list[Start]:
    """Row i of a right-padded prefill, cut to lengths[i]. Views."""
    layers: list[Any] = cache.layers
    return [
        [(layer.keys[i, :, :n], layer.values[i, :, :n]) for layer in layers] for i, n in enumerate(lengths)
    ]
