"""Properties of the machine: free memory, bfloat16 instructions, and how many cores a model can use."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

GROUP = Path("/sys/fs/cgroup")
SMALL = 2**26
"""The most weights of a small model. Threads hardly speed up its operations, and copies of its matrices (256
MiB in fp32, in each process) are worth their memory."""

AT_ONCE = 512
"""The most tokens of a pass of a large model on a CPU, those of a prompt once for all its answers. Larger
passes take more memory and save less than a tenth of the time; smaller ones read and write the weights and
their gradients too often."""

PACKED = 2**32
"""The most bytes of a model's matrices that a CPU decodes with packed copies, a second time in memory."""

MOST_WORKERS = 8
"""The largest number of workers: each process takes at least 190 MiB, and with more of them each gets too
little work."""


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU, including memory that torch has reserved there and does not use; else free memory
    of this machine, or of its container if that is less."""
    if device.type == "cuda":
        aside = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + aside
    return min(psutil.virtual_memory().available, left_in(GROUP))


def left_in(group: Path) -> int:
    """Bytes that a control group may still take; very many where it has no limit. Copies of files that have
    not been read for a while count as taken there, and give way."""
    try:
        left = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return 2**62
    with suppress(OSError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, size = line.partition(" ")
            left += int(size) if name == "inactive_file" else 0
    return max(0, left)


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16. If it does not, products are emulated and slower than in
    fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def emulated(dtype: str, device: torch.device) -> str:
    """The sentence about a dtype in which the hardware does not multiply; "" where it does."""
    if dtype != "bfloat16" or has_bf16(device):
        return ""
    return (
        f"this {device.type} has no bfloat16 instructions and emulates them slowly; dtype=float32 is faster "
        "here"
    )


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies by packed matrices of this dtype on this CPU."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def workers(weights: int, device: torch.device) -> int:
    """How many passes through a model of so many weights should run in parallel, each with one thread. For a
    small model on a CPU, whose operations are too small to divide, this is the number of torch threads, at
    most 8. For others it is 1: a single pass that uses all threads."""
    return min(torch.get_num_threads(), MOST_WORKERS) if device.type == "cpu" and weights <= SMALL else 1


def is_large(weights: int, device: torch.device) -> bool:
    """Whether a model of so many weights is on a CPU and not small. Its products fill the cores with few
    tokens, so its learner makes small passes of whole prompts; and what they free is worth giving back."""
    return device.type == "cpu" and weights > SMALL


def row_threads(weights: int, rows: int) -> int:
    """Among how many threads the rows of a decoding step are divided on a CPU. For a model that is not small,
    whose products take longer than what surrounds them, among all; processes share the others' rows."""
    return 1 if weights <= SMALL else min(torch.get_num_threads(), rows)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sets one torch thread here, because other workers run in parallel; in MKL this count is that of the
    whole process. A Python thread that first uses torch within this context keeps one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
