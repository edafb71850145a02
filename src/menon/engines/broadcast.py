"""Weights broadcast from this process to the workers of a sampler, through torch's process groups."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore

GROUP = "menon-weights"


def join(
    rank: int, host: str, port: int, size: int, backend: str, seconds: float, store: TCPStore | None = None
) -> Any:
    """The process group of one trainer (rank 0) and `size - 1` workers. It belongs to no default group, so
    that it disturbs none of the library at the other end. `seconds` bounds each of its waits."""
    limit = timedelta(seconds=seconds)
    store = store or TCPStore(host, port, is_master=False, timeout=limit, wait_for_workers=False)
    shared = PrefixStore(GROUP, store)
    if backend == "nccl":
        options = torch.distributed.ProcessGroupNCCL.Options()
        options._timeout = limit
        return torch.distributed.ProcessGroupNCCL(shared, rank, size, options)
    return ProcessGroupGloo(shared, rank, size, limit)


class Broadcast:
    """The trainer's end. `meeting` is what the workers need to join."""

    def __init__(
        self, workers: int, backend: str = "gloo", host: str = "127.0.0.1", seconds: float = 60
    ) -> None:
        self.backend, self.size, self.seconds = backend, workers + 1, seconds
        self.store = TCPStore(
            host, 0, is_master=True, timeout=timedelta(seconds=seconds), wait_for_workers=False
        )
        self.meeting = {
            "host": host,
            "port": self.store.port,
            "size": self.size,
            "backend": backend,
            "seconds": seconds,
        }
        self.group: Any = None

    def meet(self) -> None:
        """Waits until all workers have joined."""
        self.group = join(0, "", 0, self.size, self.backend, self.seconds, self.store)

    def send(self, tensors: Iterator[Tensor]) -> None:
        """Broadcasts tensors one after the other."""
        for tensor in tensors:
            self.group.broadcast(tensor.contiguous(), 0).wait()
