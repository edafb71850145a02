"""How training changes the entropy of tokens, by their entropy under the base (arXiv 2506.01939)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError

BINS = 20


@dataclass(frozen=True)
class Bin:
    """One share of the tokens, by their entropy under the base."""

    tokens: int
    base: float
    """Mean entropy under the base."""
    change: float
    """Mean of the trained entropy minus the base's."""


def change_by_bin(base_N: NDArray, trained_N: NDArray, bins: int = BINS) -> list[Bin]:
    """Divides the tokens, ordered by their base entropy, into equal shares; equal entropies keep their order.

    UserError with fewer tokens than bins.
    """
    if len(base_N) < bins:
        raise UserError(
            f"{bins} bins of entropy need as many tokens, and there are {len(base_N)}; take more transcripts"
        )
    base, change = np.asarray(base_N, dtype=np.float64), np.asarray(trained_N, dtype=np.float64) - base_N
    parts = np.array_split(np.argsort(base, kind="stable"), bins)
    return [Bin(len(part), float(base[part].mean()), float(change[part].mean())) for part in parts]
