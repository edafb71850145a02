"""What the files of a model's weights say of themselves, before any library reads them: whether they are
whole, and how much memory they take."""

import json
import math
from pathlib import Path
from typing import Any

import torch

from menon.engines.machine import free_bytes
from menon.errors import UserError

POINTER_BYTES = 1024
"""A file of weights below this size may be what Git LFS leaves in its place."""
GGUF = "{} is of the format GGUF, which cannot be trained; name the safetensors folder that it was made from"
INDEX = "model.safetensors.index.json"
"""The file of a model in several files that says which weight is in which of them."""
GIB = 2**30


def check_weights(folder: Path, name: str) -> None:
    """UserError for a folder without weights, or whose files are not whole. Reads their headers alone."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(instead_of_weights(folder, name))
    for file in files:
        check_whole(file)
    if lacking := [file for file in named_in_index(folder) if not (folder / file).is_file()]:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise UserError(
            f"{name} lacks {lacking[0]}{more}, which its {INDEX} names; get the whole model again"
        )


def instead_of_weights(folder: Path, name: str) -> str:
    """Which weights a folder without safetensors has, and what to do."""
    if any(folder.glob("pytorch_model*.bin")):
        return (
            f"the weights of {name} are in pytorch_model.bin, which is not read because it may run code; "
            "load them by AutoModelForCausalLM.from_pretrained, write them by save_pretrained, and name "
            "that folder"
        )
    if any(folder.glob("*.gguf")):
        return GGUF.format(name)
    return f"{name} has no weights (*.safetensors); get them, or save the model again with safetensors"


def check_whole(file: Path) -> None:
    """UserError for a file that is a pointer, or has fewer bytes than its header says."""
    size = file.stat().st_size
    if size < POINTER_BYTES and file.read_bytes().startswith(b"version https://git-lfs"):
        raise UserError(
            f"{file} is a pointer of Git LFS, not the weights; run `git lfs pull` in {file.parent}"
        )
    length, about = header(file)
    if not length:
        raise UserError(f"{file} is damaged, or no safetensors file; get it again")
    ends = [end for tensor in about.values() if isinstance(end := tensor.get("data_offsets", [0])[-1], int)]
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise UserError(f"{file} is cut short: it has {size:,} of {whole:,} bytes; get it again")


def header(file: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The length in bytes of the JSON object at the beginning of a safetensors file, which 8 bytes give, and
    what it says of the tensors, by name. (0, {}) for a damaged file."""
    try:
        with file.open("rb") as content:
            length = int.from_bytes(content.read(8), "little")
            found = json.loads(content.read(min(length, file.stat().st_size)))
    except (OSError, ValueError, RecursionError):
        return 0, {}
    if not isinstance(found, dict):
        return 0, {}
    return length, {tensor: about for tensor, about in found.items() if isinstance(about, dict)}


def named_in_index(folder: Path) -> list[str]:
    """The files that the index of a model in several files names; none without an index."""
    try:
        found = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        return sorted({str(file) for file in found.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def numbers_in(folder: Path) -> int:
    """How many numbers the weights of a folder are. Some folders hold them a second time in other files,
    which nothing reads."""
    usual = named_in_index(folder) or ["model.safetensors"]
    files = [folder / file for file in usual if (folder / file).is_file()] or folder.glob("*.safetensors")
    shapes = [about.get("shape") for file in files for about in header(file)[1].values()]
    return sum(math.prod(shape) for shape in shapes if isinstance(shape, list))


def check_fits(folder: Path, name: str, dtype: torch.dtype, device: torch.device) -> None:
    """UserError if the weights of a folder in this dtype are more than the free memory of this machine,
    through which they come, or of the device."""
    numbers = numbers_in(folder)
    for place in dict.fromkeys((torch.device("cpu"), device)):
        free = free_bytes(place)
        if numbers * dtype.itemsize > free:
            raise UserError(
                f"{name} has {billions(numbers)} weights, which take {numbers * dtype.itemsize / GIB:.1f} "
                f"GiB in {str(dtype).removeprefix('torch.')}, and {free / GIB:.1f} GiB of memory are free; "
                f"take a model of at most {billions(free / dtype.itemsize)} weights"
            )


def billions(count: float) -> str:
    """
    >>> billions(7_615_616_512), billions(999_999_999), billions(134_515_008)
    ('7.6 billion', '1.0 billion', '135 million')
    """
    return f"{count / 1e9:.1f} billion" if count >= 999.5e6 else f"{count / 1e6:.0f} million"
