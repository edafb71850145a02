"""Puts tensors aside for a while: their memory is free for others, and they come back bit for bit."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, UntypedStorage


class PutAside:
    """Tensors whose memory was given back. On a CPU they wait in a nameless file, on a GPU in the memory of
    the host. They stay the same objects, and so do their views; until `bring_back`, none may be read.

    Memory that something else holds too (a mapped file, a numpy array) stays where it is.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        found = {one.data_ptr(): one for tensor in tensors if (one := tensor.untyped_storage()).nbytes()}
        self.storages = [storage for storage in found.values() if storage.resizable()]
        self.sizes = [storage.nbytes() for storage in self.storages]
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed when they are back
        self.copies: list[Tensor] = []
        for storage in self.storages:
            here = bytes_of(storage).cpu().clone()  # an array of the tensor itself would hold its memory
            if storage.device.type == "cpu":
                here.numpy().tofile(self.file)
            else:
                self.copies.append(here)
            storage.resize_(0)

    @property
    def nbytes(self) -> int:
        return sum(self.sizes)

    def bring_back(self) -> None:
        copies = iter(self.copies)
        self.file.seek(0)
        for storage, size in zip(self.storages, self.sizes, strict=True):
            storage.resize_(size)
            if storage.device.type == "cpu":
                bytes_of(storage).copy_(torch.from_numpy(np.fromfile(self.file, np.uint8, size)))
            else:
                bytes_of(storage).copy_(next(copies))
        self.file.close()
        self.copies = []


def bytes_of(storage: UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def tensors_within(state: Any) -> Iterator[Tensor]:
    """All tensors of nested tables."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from tensors_within(value)
