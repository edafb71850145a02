"""Weights broadcast from this process to the workers of a sampler, through torch's process groups. Both ends
are on this machine, and listen on its loopback interface alone."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore

from menon.engines.rank_group import LOOPBACK, Host, loopback_only


def join(
    rank: int, port: int, token: str, size: int, backend: str, seconds: float, store: TCPStore | None = None
) -> Any:
    """The process group of one trainer (rank 0) and `size - 1` workers. It belongs to no default group, so
    that it disturbs none of the library at the other end. `token` begins all keys of the meeting; `seconds`
    bounds each of its waits."""
    limit = timedelta(seconds=seconds)
    store = store or TCPStore(LOOPBACK, port, is_master=False, timeout=limit, wait_for_workers=False)
    shared = PrefixStore(token, store)
    gloo: Any = ProcessGroupGloo  # its types lack the options
    options: Any
    if backend == "nccl":
        os.environ |= loopback_only()  # NCCL takes its interface from there alone
        options = torch.distributed.ProcessGroupNCCL.Options()
        options._timeout = limit
        return torch.distributed.ProcessGroupNCCL(shared, rank, size, options)
    options = gloo._Options()
    options._timeout, options._devices = limit, [gloo.create_device(hostname=LOOPBACK)]
    return gloo(shared, rank, size, options)


class Broadcast:
    """The trainer's end. `meeting` is what the workers need to join."""

    def __init__(self, workers: int, backend: str = "gloo", seconds: float = 60) -> None:
        host = Host()
        self.meeting: dict[str, Any] = {
            "port": host.meeting.port,
            "token": host.meeting.token,
            "size": workers + 1,
            "backend": backend,
            "seconds": seconds,
        }
        self.store = host.store(workers + 1)
        self.store.set_timeout(timedelta(seconds=seconds))
        self.group: Any = None

    def meet(self) -> None:
        """Waits until all workers have joined."""
        self.group = join(0, **self.meeting, store=self.store)

    def send(self, tensors: Iterator[Tensor]) -> None:
        """Broadcasts tensors one after the other."""
        for tensor in tensors:
            self.group.broadcast(tensor.contiguous(), 0).wait()
