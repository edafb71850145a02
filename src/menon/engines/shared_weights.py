"""Weights in memory that several processes share: when a learner changes them in place, all processes see it
at once."""

import io
import mmap
import os
import pickle
import tempfile
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

ALIGNED = 64
"""Bytes: tensors begin at multiples of this, as fast kernels prefer."""


class SharedWeights:
    """Anonymous memory, reached by its file descriptor and freed when its last user ends."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.memory = mmap.mmap(descriptor, 0)
        self.begin = torch.frombuffer(self.memory, dtype=torch.uint8).data_ptr()

    @staticmethod
    @torch.no_grad()
    def of(parameters: Iterable[nn.Parameter]) -> "SharedWeights":
        """Moves parameters on a CPU into shared memory. They stay the same objects; tensors that were views
        of them keep the old memory."""
        parameters = list(parameters)
        begins, size = [], 0
        for parameter in parameters:
            begins.append(size)
            size += -(-parameter.nbytes // ALIGNED) * ALIGNED
        shared = SharedWeights(nameless(size))
        for parameter, begin in zip(parameters, begins, strict=True):
            view = shared.tensor(begin, parameter.dtype, parameter.shape)
            parameter.data = view.copy_(parameter)
        return shared

    def place(self, tensor: Tensor) -> int | None:
        """The byte offset of a tensor in this memory; None if it is elsewhere."""
        begin = tensor.data_ptr() - self.begin
        return begin if 0 <= begin < len(self.memory) else None

    def tensor(self, begin: int, dtype: torch.dtype, shape: torch.Size) -> Tensor:
        """The tensor at an offset, with a storage of its own: code that saves models compares storages to
        find tied weights."""
        return torch.frombuffer(self.memory, dtype=dtype, count=shape.numel(), offset=begin).view(shape)

    def dumps(self, value: Any) -> bytes:
        """The pickled value, with the offsets of shared tensors instead of their numbers."""
        file = io.BytesIO()
        _Pickler(self, file).dump(value)
        return file.getvalue()

    def loads(self, data: bytes | memoryview) -> Any:
        return _Unpickler(self, io.BytesIO(data)).load()


class _Pickler(pickle.Pickler):
    def __init__(self, shared: SharedWeights, file: io.BytesIO) -> None:
        super().__init__(file)
        self.shared = shared

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_contiguous():
            return None
        begin = self.shared.place(value)
        return None if begin is None else (begin, value.dtype, value.shape)


class _Unpickler(pickle.Unpickler):
    def __init__(self, shared: SharedWeights, file: io.BytesIO) -> None:
        super().__init__(file)
        self.shared = shared

    def persistent_load(self, place: Any) -> Tensor:
        return self.shared.tensor(*place)


def nameless(size: int) -> int:
    """The descriptor of an unlinked file of `size` bytes; it is in memory where the system supports that."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("menon weights")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor
