"""What a scheduler asks of keys and values; `decoder_slots` and `model_slots` have them."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Slots(Protocol):
    """Keys and values of sequences in rows, of which 0..n-1 are live."""

    device: torch.device

    def refresh(self) -> None:
        """The weights have changed."""
        ...

    def prefill(self, ids: Tensor, lengths: list[int]) -> list[Any]:
        """Token ids [S, L], padded on the right -> the starts of the sequences, in a form of these slots'
        own. They are views."""
        ...

    def extend(self, starts: list[Any], ids: Tensor, lengths: list[int]) -> list[Any]:
        """The same starts made longer by the first `lengths[i]` tokens of row i of `ids`."""
        ...

    def copy(self, start: Any) -> Any:
        """A copy of a start."""
        ...

    def start(self, row: int, length: int) -> Tensor | None:
        """A copy of the first `length` keys and values of a row; None if they cannot be kept."""
        ...

    def fill(self, rows: Tensor, start: Any) -> None:
        """These rows begin with the given start."""
        ...

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Row source[i] takes the place of row target[i]; none of them is longer than `width`."""
        ...

    def grow(self, rows: int, width: int) -> None:
        """Makes room for `rows` rows; existing rows keep their keys and values, and none of them is longer
        than `width`."""
        ...

    def expect(self, length: int) -> None:
        """Sequences of up to so many tokens come."""
        ...

    def decode(self, token: np.ndarray, position: np.ndarray) -> Tensor:
        """One token for each of the first n rows, written at its position -> logits [n, V] of the next."""
        ...
