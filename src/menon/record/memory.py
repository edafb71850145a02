"""How much memory a run holds."""

import psutil
import torch

GIB = 2**30


def memory() -> dict[str, float]:
    """`memory/gib`: of this process, resident (those that write answers beside it have their own); `memory/device_gib`: the most
    that tensors held on the GPU, where one is used."""
    found = {"memory/gib": psutil.Process().memory_info().rss / GIB}
    if torch.cuda.is_initialized():
        found["memory/device_gib"] = torch.cuda.max_memory_allocated() / GIB
    return found
