"""Writes a model in parts as an ordinary Hugging Face folder, tensor by tensor: no process holds more than
one whole tensor."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.engines.fsdp2 import whole
from menon.engines.hf_models import export_around, quiet
from menon.engines.model_files import FLOATS, FileDtypes
from menon.engines.model_folders import folder_of
from menon.errors import UserError

NAMES = {dtype: name for name, dtype in FLOATS.items()} | {
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The dtypes in the header of a safetensors file."""


def export_sharded(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    writes: bool,
    dtypes: FileDtypes | None = None,
) -> None:
    """The same folder as `hf_models.export`. All ranks must call it; the one that `writes` writes."""
    tensors = file_tensors(model)
    wanted = {
        name: dtypes.of(name) if dtypes is not None and tensor.is_floating_point() else tensor.dtype
        for name, tensor in tensors.items()
    }
    if not writes:
        for tensor in tensors.values():
            whole(tensor)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.config.dtype = str(model.dtype).removeprefix("torch.")
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)
    write_stream(folder / "model.safetensors", tensors, wanted)
    export_around(model, tokenizer, folder, dtypes)


def file_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """The tensors of a model's file, tied ones once; those of wide numbers first, so that all are aligned."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach()
    return dict(sorted(found.items(), key=lambda item: (-item[1].element_size(), item[0])))


def write_stream(path: Path, tensors: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype]) -> None:
    """A safetensors file: the length of the header, the header as JSON, the numbers."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * dtypes[name].itemsize
        header[name] = {
            "dtype": NAMES[dtypes[name]],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for piece in bytes_of(tensors, dtypes):
            file.write(piece)


def bytes_of(tensors: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype]) -> Iterator[memoryview]:
    for name, tensor in tensors.items():
        numbers = whole(tensor).to("cpu", dtypes[name]).contiguous()
        yield numbers.reshape(-1).view(torch.uint8).numpy().data


def check_file_names(model: PreTrainedModel, name: str) -> None:
    """UserError for a model whose files lay its weights out in another way than it holds them (some mixtures
    of experts): what is written tensor by tensor would be another file."""
    there: set[str] = set()
    for file in folder_of(str(model.name_or_path)).glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            there |= set(weights.keys())
    if there and (odd := sorted(set(dict(model.named_parameters())) - there)):
        raise UserError(
            f"{name} holds '{odd[0]}', which its files lay out otherwise; ranks write weights as they are "
            "held, so set ranks=1"
        )
