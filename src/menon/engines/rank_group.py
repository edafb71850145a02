"""The process group of a host's ranks: how they find each other, and what they agree on. `torch.distributed`
alone."""

import os
import secrets
import socket
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from menon.errors import UserError

LOOPBACK = "127.0.0.1"
PATIENCE = timedelta(minutes=10)
"""How long a rank waits in an exchange for the slowest of the others."""
MEETING = timedelta(minutes=5)
"""How long the first rank waits for all others to come."""


@dataclass(frozen=True)
class Meeting:
    """Where the ranks meet."""

    port: int
    token: str
    """Names all keys of the meeting, so that a stranger's connection finds none."""
    host: str = LOOPBACK


@dataclass(frozen=True)
class RankGroup:
    """This process among the ranks."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh

    def anywhere(self, here: bool) -> bool:
        """Whether it holds on one of the ranks."""
        return bool(self.most(int(here)))

    def most(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        found = torch.tensor([number], dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)


class Host:
    """The first rank's end of a meeting: it listens on one interface alone."""

    def __init__(self, address: str = LOOPBACK) -> None:
        self.socket = socket.create_server((address, 0))
        self.meeting = Meeting(self.socket.getsockname()[1], secrets.token_hex(16), address)

    def store(self, size: int) -> Any:
        descriptor = self.socket.detach()  # the store closes it
        return dist.TCPStore(
            self.meeting.host,
            self.meeting.port,
            size,
            is_master=True,
            timeout=MEETING,
            wait_for_workers=False,
            master_listen_fd=descriptor,
        )


def join(meeting: Meeting, rank: int, size: int, device: str, host: Host | None) -> RankGroup:
    """Becomes a rank: waits for all others. `host` is the first rank's; `device` is cpu or cuda, where each
    rank takes the GPU of its number."""
    own = torch.device(device)
    if device == "cuda":  # Ray shows each process its own GPU alone
        own = torch.device(device, rank % torch.cuda.device_count())
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if host is None:
        store = dist.TCPStore(meeting.host, meeting.port, size, is_master=False, timeout=MEETING)
    else:
        store = host.store(size)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo",
        store=dist.PrefixStore(meeting.token, store),
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    return RankGroup(rank, size, own, init_device_mesh(own.type, (size,)))


def loopback_only() -> dict[str, str]:
    """The environment in which gloo and NCCL listen on the loopback interface alone."""
    name = "lo0" if sys.platform == "darwin" else "lo"
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}


def own_address(connection: socket.socket) -> str:
    """The address by which this process is connected to the controller: loopback where both are children of
    one machine."""
    return str(connection.getsockname()[0]) if connection.family == socket.AF_INET else LOOPBACK


def use_interface(address: str) -> None:
    """gloo and NCCL, of this process, are to listen on the interface of an address alone."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = name


def device_of_ranks(device: str, size: int, here: bool = True) -> str:
    """cpu or cuda; UserError if this machine cannot hold so many ranks. `here`: they are on this machine."""
    if not dist.is_available() or not dist.is_gloo_available():
        raise UserError(
            "this torch has no gloo, by which ranks exchange numbers; install torch from pypi.org, or set "
            "ranks=1"
        )
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind.startswith("cuda:"):
        raise UserError(f"device={kind} is one GPU, and each of {size} ranks takes its own; set device=cuda")
    if here and kind == "cuda" and (count := torch.cuda.device_count()) < size:
        raise UserError(f"ranks={size} needs as many GPUs, and torch sees {count}; set ranks={max(1, count)}")
    if here and kind == "cuda" and not dist.is_nccl_available():
        raise UserError("this torch has no NCCL, which ranks on GPUs need; install one built for CUDA")
    return kind


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
