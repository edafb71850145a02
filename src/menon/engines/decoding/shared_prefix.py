"""Which rows of a cache begin with the same keys and values, and attention to those for all of them at once.

The answers of a group begin with their prompt. The cache holds it once, and a step reads it once for all rows
of a group: a matrix product, where rows one by one would read keys and values as often as there are rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Together:
    """Rows begin to end - 1 of a list of rows begin alike."""

    begin: int
    end: int
    start: Tensor
    """[layers, 2, key_heads, length, D], fp32."""


def by_beginning(origin: np.ndarray, starts: Mapping[int, Tensor]) -> np.ndarray:
    """The order of rows in which those that begin alike are neighbours, or as they lie where none do;
    `origin` [n] and `starts` as of `BlockCache`."""
    return np.argsort(origin, kind="stable") if starts else np.arange(len(origin))


def taken_together(origin: np.ndarray, starts: Mapping[int, Tensor]) -> list[Together]:
    """The neighbours that begin with one of `starts`."""
    if not starts:
        return []
    edges = [0, *(np.flatnonzero(np.diff(origin)) + 1).tolist(), len(origin)]
    return [Together(a, b, starts[fill]) for a, b in pairwise(edges) if (fill := int(origin[a])) in starts]


class SharedPrefixes:
    """Attention to the shared positions, for one list of rows and one step."""

    def __init__(self, runs: list[Together], rows: int) -> None:
        self.runs = runs
        self.shared = np.zeros(rows, dtype=np.int64)
        """[n] positions that the kernels leave out."""
        for run in runs:
            self.shared[run.begin : run.end] = run.start.shape[3]

    def score(self, q: Tensor, layer: int, out: Tensor) -> None:
        """q [key_heads, n, heads per key, D] -> scaled products with the shared keys in `out` [key_heads, n,
        heads per key, width]."""
        for (keys, _), mine, found in self._parts(layer, q, out):
            into = found[..., : keys.shape[1]]
            torch.baddbmm(into, mine, keys.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5, out=into)

    def mix(self, shares: Tensor, layer: int, out: Tensor) -> None:
        """Adds the shared values to `out` [key_heads, n, heads per key, D], weighted by `shares`."""
        for (_, values), mine, found in self._parts(layer, shares, out):
            found.baddbmm_(mine[..., : values.shape[1]], values)

    def _parts(self, layer: int, given: Tensor, out: Tensor) -> Any:
        """Keys and values of every run, and its rows of both tensors, [key_heads, rows * heads per key,
        ...]."""
        for run in self.runs:
            rows = slice(run.begin, run.end)
            yield run.start[layer], given[:, rows].flatten(1, 2), out[:, rows].flatten(1, 2)
