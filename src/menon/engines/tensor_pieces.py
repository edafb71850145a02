"""Tensors on their way from ranks to the controller: each rank sends the rows that it holds, in pieces.

Pieces are small enough that both ends use the same memory for one after the other: memory that is claimed
for the first time costs several times what copying into it does.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from menon.processes.wire import Connection

PIECE = 2**20
"""Most bytes in a piece."""
AHEAD = 2**25
"""Bytes of its rows after which a rank waits, at the end of a tensor, until the controller has that tensor
whole. So no rank is far ahead of another, and the controller holds little that is not whole."""
TENSOR, MORE = "tensor", "more"
"""The kinds of messages: a piece, and that a rank that waits goes on."""


def send_tensors(connection: Connection, tensors: Iterable[tuple[str, Tensor]], rank: int) -> None:
    """Sends this rank's rows of each tensor in parts (by rows). One that all ranks have whole comes from the
    first."""
    ahead = 0
    for name, tensor in tensors:
        begin, own = own_rows(tensor.detach(), rank)
        if rank and not own.numel():
            continue
        numbers = own.cpu().contiguous()
        data = numbers.reshape(-1).view(torch.uint8).numpy().data
        ahead += len(data)
        head = [TENSOR, name, str(numbers.dtype).removeprefix("torch."), list(tensor.shape)]
        for place in range(0, max(1, len(data)), PIECE):
            waits = ahead >= AHEAD and place + PIECE >= len(data)
            connection.send([*head, begin + place, waits], data[place : place + PIECE])
        if ahead >= AHEAD:
            connection.receive()
            ahead = 0


def own_rows(tensor: Tensor, rank: int) -> tuple[int, Tensor]:
    """The byte of the whole tensor at which the rows that this rank sends begin, and the rows."""
    if not isinstance(tensor, DTensor):
        return 0, tensor if not rank else tensor.new_empty(0)
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    row = tensor.shape[1:].numel() * tensor.element_size()
    return offset[0] * row, tensor.to_local()


class Pieces:
    """Puts whole tensors together of pieces that come in any order."""

    def __init__(self) -> None:
        self.begun: dict[str, tuple[Tensor, int]] = {}
        """Memory of the tensors that are not whole yet, and how many bytes of each are there."""
        self.waiting: dict[str, list[int]] = {}
        """Tensor -> the ranks that wait until it is whole."""
        self._memory: list[Tensor] = []
        """Memory of tensors that were handed out, for the next ones."""
        self._out: Tensor | None = None

    def add(self, rank: int, head: list[Any], body: bytes | memoryview) -> tuple[str, Tensor] | None:
        """A tensor's name and the tensor if this piece makes it whole. It is overwritten once the next is
        whole."""
        _, name, dtype, shape, begin, waits = head
        kind = getattr(torch, dtype)
        size = torch.Size(shape).numel() * kind.itemsize
        if waits:
            self.waiting.setdefault(name, []).append(rank)
        memory, there = self.begun.pop(name) if name in self.begun else (self._room(size), 0)
        memory.numpy().data[begin : begin + len(body)] = body
        if there + len(body) < size:
            self.begun[name] = memory, there + len(body)
            return None
        if self._out is not None:
            self._memory.append(self._out)
        self._out = memory
        return name, memory[:size].view(kind).view(shape)

    def _room(self, size: int) -> Tensor:
        """Bytes, at least so many."""
        for place, memory in enumerate(self._memory):
            if len(memory) >= size:
                return self._memory.pop(place)
        return torch.empty(size, dtype=torch.uint8)
