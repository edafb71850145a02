"""Files of tensors beside an exported model: the weights and moments of a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def tensors_in(folder: Path) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder, by name."""
    found: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            found |= {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    return found


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes one safetensors file. A tensor is copied only if it shares memory with another or is a view of a
    larger one: the moments of a large model take twice as much memory as its weights."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        found[name] = tensor
    save_file(found, path)


def same_bits(a: Tensor | None, b: Tensor) -> bool:
    """Whether two tensors have the same bits; 0 and -0 differ, and so do different NaNs."""
    if a is None or a.dtype != b.dtype or a.shape != b.shape:
        return False
    a, b = (x.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for x in (a, b))
    return torch.equal(a, b)
