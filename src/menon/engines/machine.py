"""What the machine has: free memory, bfloat16 instructions, cores that a model can use."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

GROUP = Path("/sys/fs/cgroup")
SMALL = 2**26
"""Weights up to which a model is small: threads hardly speed up its operations, and copies of its matrices
(256 MiB in fp32, in each process) are worth their memory."""

MOST_WORKERS = 8
"""A process takes 190 MiB and more, and a step's work is soon too little for so many parts."""


def free_bytes(device: torch.device) -> int:
    """Of a GPU, with what torch has set aside there and does not use; else of this machine, or of the
    container's share where that is less."""
    if device.type == "cuda":
        aside = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + aside
    return min(psutil.virtual_memory().available, left_in(GROUP))


def left_in(group: Path) -> int:
    """Bytes that a control group may still take; very many where it has no limit."""
    try:
        return max(0, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return 2**62


def has_bf16(device: torch.device) -> bool:
    """Does the hardware multiply in bfloat16? Where it does not, products are emulated, slower than in
    fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def workers(weights: int, device: torch.device) -> int:
    """How many passes through a model of so many weights should run side by side, each with one thread: as
    many as torch has threads, but no more than 8, for a small model on a CPU, whose operations are too small
    to divide; else 1, which keeps the threads to itself."""
    return min(torch.get_num_threads(), MOST_WORKERS) if device.type == "cpu" and weights <= SMALL else 1


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread here, and in MKL, whose count is the whole process's: others work beside it. A Python
    thread that first uses torch meanwhile stays with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
