"""What a checkpoint holds of a run's models, whichever host has written it: the one in process (safetensors
files of whole tensors) or ranks (safetensors files of their parts, by `torch.distributed.checkpoint`)."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from menon.engines import model_files
from menon.engines.model_files import STATE, dtypes_in
from menon.engines.protocols import Learner, Models, check_same_model
from menon.state_codec import decode

PARTS = "parts"
"""Folder in `state` with the ranks' files."""


@dataclass(frozen=True)
class Stored:
    """Weights by role and name, and the state of each model that learned."""

    weights: Mapping[str, Mapping[str, Tensor]]
    states: Mapping[str, Mapping[str, Any]]


def stored_in(folder: Path, models: Models) -> Stored:
    """Reads a checkpoint. `models` are those that will take it: what ranks have written is read straight into
    tensors like theirs."""
    about = json.loads((folder / STATE / "models.json").read_text(encoding="utf-8"))
    if (folder / STATE / PARTS).is_dir():
        return _of_parts(folder / STATE / PARTS, about, models)
    states = decode(about["learners"], load_file(folder / STATE / "optimisers.safetensors"))
    exported = model_files.tensors_in(folder)
    weights = {}
    for role, names in about["weights"].items():
        own = load_file(folder / STATE / f"{role}.safetensors")
        weights[role] = {name: own[name] if name in own else exported[name] for name in names}
    return Stored(weights, states)


@torch.no_grad()
def restore_unrounded(model: nn.Module, folder: Path) -> None:
    """Gives a model that was read from a checkpoint's folder the weights that trained, if the folder's files
    hold them in a lower precision.

    A weight in `state` is taken only if it rounds to the file's: the files may have been changed since.
    """
    dtypes, own = dtypes_in(folder), dict(model.named_parameters())
    for name, exact in _exact(folder, own).items():
        weight = own.get(name)
        if weight is None or exact.shape != weight.shape:
            continue
        if torch.equal(exact.to(dtypes.of(name)).to(weight), weight):
            weight.copy_(exact)


def _exact(folder: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The policy's weights in a checkpoint's `state`, by name; those of ranks in tensors like the model's."""
    if (folder / STATE / PARTS).is_dir():
        about = json.loads((folder / STATE / "models.json").read_text(encoding="utf-8"))
        shapes = about["weights"].get("policy", {})
        same = [name for name, weight in own.items() if shapes.get(name) == list(weight.shape)]
        found = {f"policy/weight/{name}": torch.empty_like(own[name], requires_grad=False) for name in same}
        read_parts(folder / STATE / PARTS, found)
        return {name: found[f"policy/weight/{name}"] for name in same}
    kept = folder / STATE / "policy.safetensors"
    return load_file(kept) if kept.is_file() else {}


def _of_parts(folder: Path, about: Mapping[str, Any], models: Models) -> Stored:
    """Moments are named as `part_name` names them; the counts of an optimiser's steps are plain numbers."""
    weights: dict[str, dict[str, Tensor]] = {}
    states: dict[str, dict[str, Any]] = {}
    wanted: dict[str, Tensor] = {}

    def like(tensor: Tensor, *name: str) -> Tensor:
        wanted["/".join(name)] = empty = torch.zeros_like(tensor, requires_grad=False)
        return empty

    for role, shapes in about["weights"].items():
        if role not in models:
            continue
        own = models[role].weights()
        check_same_model(own, {name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
        weights[role] = {name: like(weight, role, "weight", name) for name, weight in own.items()}
        if role not in about["learners"]:
            continue
        learned = decode(about["learners"][role], {})
        moments = {
            name: {
                key: torch.tensor(kept[key]) if key in kept else like(own[name], role, key, name)
                for key in ("step", *about["moments"])
            }
            for name, kept in learned["moments"].items()
        }
        states[role] = {**learned, "moments": moments}
    read_parts(folder, wanted)
    return Stored(weights, states)


def read_parts(folder: Path, wanted: dict[str, Tensor]) -> None:
    """Reads into the given tensors, which may be in parts themselves, what any number of ranks has written.
    Where they are in parts, all ranks must read."""
    from torch.distributed import checkpoint, is_initialized

    reader = checkpoint.HuggingFaceStorageReader(str(folder))
    with warnings.catch_warnings():  # it says that it reads in one process
        warnings.simplefilter("ignore")
        checkpoint.load(dict(wanted), storage_reader=reader, no_dist=not is_initialized())


def save_parts(
    folder: Path, weights: Mapping[str, Mapping[str, Tensor]], learners: Mapping[str, Learner], first: bool
) -> None:
    """Every rank writes its parts; the `first` one also what is not in parts."""
    from torch.distributed import checkpoint

    parts: dict[str, Tensor] = {}
    states: dict[str, Any] = {}
    moments: set[str] = set()
    for role, learner in learners.items():
        state = learner.state()
        counts: dict[str, dict[str, float]] = {}
        for name, kept in state["moments"].items():
            counts[name] = {"step": float(kept["step"])}
            own = {key: value for key, value in kept.items() if key != "step"}
            moments |= own.keys()
            parts |= {f"{role}/{key}/{name}": value for key, value in own.items()}
        states[role] = {**state, "moments": counts}
    for role, tensors in weights.items():
        parts |= {f"{role}/weight/{name}": weight.detach() for name, weight in tensors.items()}
    about = {
        "weights": {role: {name: list(w.shape) for name, w in own.items()} for role, own in weights.items()},
        "moments": sorted(moments),
        "learners": states,
    }
    place = folder / STATE / PARTS
    if first:
        place.mkdir(parents=True, exist_ok=True)
        (folder / STATE / "models.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")
    writer = checkpoint.HuggingFaceStorageWriter(str(place), save_distributed=True)
    checkpoint.save(dict(parts), storage_writer=writer)
