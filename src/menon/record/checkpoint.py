"""Checkpoints: an ordinary Hugging Face folder with a `state` folder inside, whole or absent, checked when it
is read."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from menon.record import disk
from menon.record.layout import step_name, steps_in
from menon.record.state_codec import decode, encode

Export = Callable[[Path], None]
"""Writes the policy as a Hugging Face folder."""
Told = Callable[[str], None]

STATE = "state"
SEAL = f"{STATE}/files.json"
KEEP = 2
BEST = "best"
EXPORTED = "policy"
"""The model whose weights the Hugging Face folder holds."""


class Damaged(Exception):
    """A checkpoint that cannot be trusted; the text says why."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that a run needs to go on as if it had never stopped."""

    step: int
    """Steps done."""
    weights: Mapping[str, Mapping[str, Tensor]]
    """Of every model that learns, by role."""
    state: Mapping[str, Any]
    """The rest, as `record.state_codec` can write it."""


def save(folder: Path, snapshot: Snapshot, export: Export, keep: int = KEEP) -> Path:
    """Writes `folder/step_000100` aside, syncs it, renames it, points `latest` at it and keeps the newest
    `keep` and the best.

    A failure (no room) removes what was half written and leaves every older checkpoint as it was.
    """
    path = folder / step_name(snapshot.step)
    aside = path.with_name(path.name + ".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        (aside / STATE).mkdir(parents=True)
        export(aside)
        _write_state(aside, snapshot)
        _seal(aside)
        os.replace(aside, path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    disk.sync_folder(folder)
    disk.link(folder / "latest", path.name)
    prune(folder, keep)
    return path


def prune(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep` and the one that `best` points at; renamed first, so that one half
    removed does not look like a checkpoint."""
    best = os.readlink(folder / BEST) if (folder / BEST).is_symlink() else ""
    for step in steps_in(folder)[:-keep]:
        if step_name(step) == best:
            continue
        aside = folder / f"{step_name(step)}.tmp"
        os.replace(folder / step_name(step), aside)
        shutil.rmtree(aside)


def mark_best(folder: Path, step: int | None, keep: int = KEEP) -> bool:
    """Points `best` at the checkpoint of a step, which is then never removed; None: there is no best one.
    Whether that changed anything."""
    before = os.readlink(folder / BEST) if (folder / BEST).is_symlink() else None
    after = None if step is None else step_name(step)
    if after is None:
        (folder / BEST).unlink(missing_ok=True)
    elif after != before:
        disk.link(folder / BEST, after)
    prune(folder, keep)
    return after != before


def newest(folder: Path, notify: Told, keep: int = KEEP) -> Snapshot | None:
    """The newest usable checkpoint. A damaged one is set aside under another name, and the user is notify."""
    damaged = []
    for step in reversed(steps_in(folder)):
        path = folder / step_name(step)
        try:
            snapshot = load(path)
        except Damaged as error:
            damaged.append(path)
            notify(f"the checkpoint {path} is damaged ({error}) and is passed over")
            continue
        _set_aside(damaged)
        disk.link(folder / "latest", path.name)
        prune(folder, keep)  # a kill may have come between saving and this
        return snapshot
    _set_aside(damaged)
    return None


def load(path: Path) -> Snapshot:
    """Reads a checkpoint after checking every file of it. Damaged if a bit is not as it was written."""
    _check(path)
    try:
        about = json.loads((path / STATE / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(path / STATE / "tensors.safetensors")
        exported = _exported(path)
        weights = {
            role: {
                name: exported[name] if name in exported and name not in own else own[name] for name in names
            }
            for role, names in about["weights"].items()
            for own in [load_file(path / STATE / f"{role}.safetensors")]
        }
        return Snapshot(about["step"], weights, decode(about["state"], tensors))
    except (ValueError, KeyError, OSError) as error:
        raise Damaged(f"its state cannot be read: {error}") from error


def _set_aside(paths: list[Path]) -> None:
    for path in paths:
        aside = path.with_name(path.name + ".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)


def _write_state(path: Path, snapshot: Snapshot) -> None:
    """state.json, tensors.safetensors, and per model the weights that the Hugging Face folder does not hold
    bit for bit (all of a critic's; the policy's own where the export has another precision or ties them)."""
    tensors: dict[str, Tensor] = {}
    about = {
        "step": snapshot.step,
        "weights": {role: list(weights) for role, weights in snapshot.weights.items()},
        "state": encode(snapshot.state, tensors),
    }
    for role, weights in snapshot.weights.items():
        save_file(apart(_not_exported(path, role, weights)), path / STATE / f"{role}.safetensors")
    save_file(apart(tensors), path / STATE / "tensors.safetensors")
    (path / STATE / "state.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")


def _not_exported(path: Path, role: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    there = _exported(path) if role == EXPORTED else {}
    return {
        name: w.detach().cpu()
        for name, w in weights.items()
        if name not in there or not _same_bits(there[name], w)
    }


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, and copied only where two share memory or one is a view of more: the moments of a large
    model take as much memory as twice its weights."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        found[name] = tensor
    return found


def _exported(path: Path) -> dict[str, Tensor]:
    """The weights in the Hugging Face folder."""
    found: dict[str, Tensor] = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            found |= {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    return found


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Also tells 0 from -0 and one NaN from another."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    a, b = (x.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for x in (a, b))
    return torch.equal(a, b)


def _files(path: Path) -> list[str]:
    names = (str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    return sorted(name for name in names if name != SEAL)


def _seal(path: Path) -> None:
    """Checksums of every file, and everything on the disk."""
    names = _files(path)
    for name in names:
        disk.sync_file(path / name)
    disk.write_json(path / SEAL, {name: _print(path / name) for name in names})
    for folder in {(path / name).parent for name in names}:
        disk.sync_folder(folder)


def _check(path: Path) -> None:
    seal = disk.read_json(path / SEAL)
    if not isinstance(seal, dict):
        raise Damaged(f"{SEAL} is missing or unreadable")
    for name, written in seal.items():
        if not (path / name).is_file():
            raise Damaged(f"{name} is missing")
        if _print(path / name) != written:
            raise Damaged(f"{name} is not as it was written")


def _print(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
