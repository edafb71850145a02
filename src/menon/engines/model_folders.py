"""Where a model's files are: in a folder here, in that of the model that an adapter is for, or on the hub."""

from pathlib import Path

import huggingface_hub

from menon.engines.adapter_files import base_named_in, is_adapter
from menon.engines.quantised import refuse_quantised
from menon.engines.weight_files import GGUF, check_weights
from menon.errors import UserError, first_line, offline_by

WITHIN = ("checkpoints/latest", "snapshots/*", "*")
"""Where a folder holds a model: a run, the hub's cache, or any folder above a model."""


def folder_of(name: str, adapters: bool = False) -> Path:
    """The folder of a model, with `adapters` also of an adapter. A path must be a model folder; any other
    name is looked up on the hub and is downloaded, or found in the hub's cache."""
    folder = Path(name).expanduser()
    if folder.is_file():
        raise UserError(
            GGUF.format(name) if folder.suffix == ".gguf" else f"{name} is a file; name the model's folder"
        )
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
            raise UserError(
                f"there is no folder {name}; name a model folder, or a model on the Hugging Face hub"
            )
        folder = _download(name)
    if adapters and is_adapter(folder):
        return folder
    if not (folder / "config.json").is_file():
        raise UserError(instead_of_a_model(folder, name))
    check_weights(folder, name)
    refuse_quantised(folder, name)
    return folder


def instead_of_a_model(folder: Path, name: str) -> str:
    """What a folder without a config.json is, and which folder to name."""
    if is_adapter(folder):
        return (
            f"{name} is an adapter (LoRA), and a whole model is read here; merge it (`menon export {name} "
            "out=FOLDER`) and name the folder of the result"
        )
    if any(folder.glob("*.gguf")):
        return GGUF.format(name)
    within = [file.parent for pattern in WITHIN for file in sorted(folder.glob(f"{pattern}/config.json"))]
    if within:
        return f"{name} is not a model folder, and there is one in it; name {within[0]}"
    return f"{name} is not a model folder: it has no config.json; name the folder that save_pretrained wrote"


def _download(name: str) -> Path:
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
            )
        )
    except Exception as error:
        if offline := offline_by("TRANSFORMERS_OFFLINE"):
            raise UserError(
                f"{offline} is set, so the Hugging Face hub is not asked for {name}, which is neither in the "
                f"hub's cache nor a folder here; name a local folder, or unset {offline}"
            ) from error
        reason = first_line(error)
        raise UserError(
            f"{name} is no folder here, and the Hugging Face hub did not give it ({reason}); name a local "
            "folder"
        ) from error


def base_folder(folder: Path, name: str) -> Path:
    """The folder of a model: the given one, or that of the model that an adapter is for."""
    if not is_adapter(folder):
        return folder
    given = base_named_in(folder, name)
    try:
        base = folder_of(given, adapters=True)
    except UserError as error:
        raise UserError(f"{name} is an adapter of {given}, which cannot be read: {error}") from None
    if is_adapter(base):
        raise UserError(f"{name} is an adapter of {base}, which is an adapter itself; merge that one first")
    return base
