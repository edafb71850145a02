"""How much memory a run holds."""

import os
from contextlib import suppress

import psutil
import torch

GIB = 2**30


def memory() -> dict[str, float]:
    """`memory/gib`: memory of the run's processes on this machine, shared pages counted once.
    `memory/device_gib`: the peak memory of tensors on the GPU, if one is used."""
    here = psutil.Process()
    found = {"memory/gib": (here.memory_info().rss + sum(map(own, here.children(recursive=True)))) / GIB}
    if torch.cuda.is_initialized():
        found["memory/device_gib"] = torch.cuda.max_memory_allocated() / GIB
    return found


def own(process: psutil.Process) -> int:
    """Bytes that a process below this one shares with no other; 0 once it has ended.

    A child is a separate program: it shares only files and the weights, and Linux keeps a count of those
    pages. A process that a child has forked shares any page with it, so its pages must be queried one by one
    (25 ms a GiB).
    """
    with suppress(psutil.NoSuchProcess):
        held = process.memory_info()
        with suppress(psutil.AccessDenied):
            if process.ppid() != os.getpid() or not hasattr(held, "shared"):
                return process.memory_full_info().uss
        return held.rss - getattr(held, "shared", 0)
    return 0
