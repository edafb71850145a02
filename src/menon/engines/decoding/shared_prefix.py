"""Which rows of a cache begin with the same keys and values, and attention to those for all of them at once.

The answers of a group begin with their prompt. Each row holds it, but a step reads it once for all rows of a
group: a matrix product, where rows one by one would read keys and values as often as there are rows.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from menon.engines.decoding.block_cache import WORTH
from menon.engines.decoding.cpu_kernels import array_of, read


@dataclass(frozen=True)
class Together:
    """Rows begin to end - 1 of a list of rows begin with the same `length` positions."""

    begin: int
    end: int
    length: int


def by_beginning(origin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The order of rows in which those with the same beginning are neighbours, or as they lie where none are
    worth it; `origin` and `length` [n] as of `BlockCache`."""
    if length.any():
        order = np.argsort(origin, kind="stable")
        if taken_together(origin[order], length[order]):
            return order
    return np.arange(len(origin))


def taken_together(origin: np.ndarray, length: np.ndarray) -> list[Together]:
    """The neighbours with the same beginning for which it pays."""
    if not length.any():
        return []
    edges = [0, *(np.flatnonzero(np.diff(origin)) + 1).tolist(), len(origin)]
    runs = [Together(a, b, int(length[a])) for a, b in pairwise(edges) if b - a > 1]
    return [run for run in runs if (run.end - run.begin - 1) * run.length >= WORTH]


class SharedPrefixes:
    """Attention to the shared positions, for one list of rows and one step."""

    def __init__(
        self, runs: list[Together], rows: np.ndarray, borders: np.ndarray, memory: np.ndarray
    ) -> None:
        """`rows` [n] of the cache; `borders` and `memory` of `BlockCache`."""
        self.runs, self.rows, self.borders, self.memory = runs, rows, borders, memory
        self.shared = np.zeros(len(rows), dtype=np.int64)
        """[n] positions that the kernels leave out."""
        for run in runs:
            self.shared[run.begin : run.end] = run.length

    def score(self, q: Tensor, begins: np.ndarray, out: Tensor) -> None:
        """q [key_heads, n, heads per key, D] -> scaled products with the shared keys in `out` [key_heads, n,
        heads per key, width]."""
        for run, mine, found in self._parts(q, out):
            keys = self._read(run, q, begins[0]).transpose(1, 2)
            into = found[..., : run.length]
            torch.baddbmm(into, mine, keys, beta=0, alpha=q.shape[-1] ** -0.5, out=into)

    def mix(self, shares: Tensor, begins: np.ndarray, out: Tensor) -> None:
        """Adds the shared values to `out` [key_heads, n, heads per key, D], weighted by `shares`."""
        for run, mine, found in self._parts(shares, out):
            found.baddbmm_(mine[..., : run.length], self._read(run, out, begins[1]))

    def _parts(self, given: Tensor, out: Tensor) -> Any:
        """Every run with its rows of both, [key_heads, rows * heads per key, ...]."""
        for run in self.runs:
            rows = slice(run.begin, run.end)
            yield run, given[:, rows].flatten(1, 2), out[:, rows].flatten(1, 2)

    def _read(self, run: Together, like: Tensor, begins: np.ndarray) -> Tensor:
        """Keys or values of the run's first row, [key_heads, length, D]."""
        found = torch.empty(like.shape[0], run.length, like.shape[-1])
        kernel = read[torch.bfloat16 if self.memory.dtype == np.uint16 else torch.float32]
        kernel(self.rows[run.begin], begins, self.borders, self.memory, array_of(found))
        return found
