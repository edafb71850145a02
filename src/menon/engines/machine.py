"""What the machine has: free memory, bfloat16 instructions."""

from pathlib import Path

import psutil
import torch

GROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Of a GPU, with what torch has set aside there and does not use; else of this machine, or of the container's share where
    that is less."""
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
    """Does the hardware multiply in bfloat16? Where it does not, products are emulated, slower than in fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)
