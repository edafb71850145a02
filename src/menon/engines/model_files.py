"""Files of tensors: those of a model's folder, and the weights and moments of a checkpoint beside them."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

STATE = "state"
"""Folder beside the exported policy that holds what a Hugging Face folder does not."""
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The dtypes of weights, by their names in a safetensors file."""


@dataclass(frozen=True)
class FileDtypes:
    """The dtypes of the weights in a model's files."""

    usual: torch.dtype
    """That of most numbers."""
    others: Mapping[str, torch.dtype] = field(default_factory=dict)
    """The weights of another dtype, by name."""

    def of(self, name: str) -> torch.dtype:
        return self.others.get(name, self.usual)


def dtypes_in(folder: Path) -> FileDtypes:
    """The dtypes in the files of a Hugging Face folder. Reads their headers alone."""
    found: dict[str, torch.dtype] = {}
    sizes: Counter[torch.dtype] = Counter()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                about = weights.get_slice(name)
                if dtype := FLOATS.get(about.get_dtype()):
                    found[name] = dtype
                    sizes[dtype] += math.prod(about.get_shape())
    usual = max(sizes, key=lambda dtype: sizes[dtype], default=torch.float32)
    return FileDtypes(usual, {name: dtype for name, dtype in found.items() if dtype != usual})


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
