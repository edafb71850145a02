"""Checkpoints: an ordinary Hugging Face folder with a folder `state` inside. It is either complete or absent,
and its checksums are verified when it is read."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from menon.record import disk
from menon.record.layout import step_name, steps_in
from menon.state_codec import decode, encode

SaveModels = Callable[[Path], None]
"""Writes the models into a checkpoint's folder (`ModelHost.save`)."""

STATE = "state"
SEAL = f"{STATE}/files.json"
KEEP = 2
BEST = "best"


class Damaged(Exception):
    """A checkpoint that cannot be trusted; the text says why."""


@dataclass(frozen=True)
class Snapshot:
    """Everything besides the models that a run needs to go on as if it had never stopped."""

    step: int
    """Steps done."""
    state: Mapping[str, Any]
    """The state of the source and the parts, in types that `state_codec` can write."""
    folder: Path = Path()
    """The folder that it was read from, with the models' files (`ModelHost.load`)."""


def save(folder: Path, snapshot: Snapshot, models: SaveModels, keep: int = KEEP) -> Path:
    """Writes `folder/step_000100` under a temporary name, syncs it, renames it, points `latest` at it, and
    removes all checkpoints but the newest `keep` and the best.  A failure (no room) removes the unfinished
    folder and leaves every older checkpoint as it was.
    """
    path = folder / step_name(snapshot.step)
    aside = disk.temporary(disk.own_folder(folder) / path.name)
    try:
        aside.mkdir()
        (aside / STATE).mkdir()
        models(aside)
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
    """Removes all checkpoints but the newest `keep` and the one that `best` points at. Each is renamed first,
    so that a half-removed folder does not look like a checkpoint."""
    best = os.readlink(folder / BEST) if (folder / BEST).is_symlink() else ""
    for step in steps_in(folder)[:-keep]:
        if step_name(step) == best:
            continue
        aside = disk.temporary(folder / step_name(step))
        os.replace(folder / step_name(step), aside)
        disk.remove(aside)


def mark_best(folder: Path, step: int | None, keep: int = KEEP) -> bool:
    """Points `best` at the checkpoint of a step, which is then never removed; None: there is no best one.
    Returns whether this changed anything."""
    before = os.readlink(folder / BEST) if (folder / BEST).is_symlink() else None
    after = None if step is None else step_name(step)
    if after is None:
        (folder / BEST).unlink(missing_ok=True)
    elif after != before:
        disk.link(folder / BEST, after)
    prune(folder, keep)
    return after != before


def newest(folder: Path, notify: Callable[[str], None], keep: int = KEEP) -> Snapshot | None:
    """The newest usable checkpoint. A damaged one is renamed, and the user is notified."""
    damaged = []
    for step in reversed(steps_in(folder)):
        path = folder / step_name(step)
        try:
            snapshot = load(path)
        except Damaged as error:
            damaged.append(path)
            notify(f"the checkpoint {path} is damaged ({error}) and is skipped")
            continue
        _set_aside(damaged)
        disk.link(folder / "latest", path.name)
        prune(folder, keep)  # the process may have been killed between saving and pruning
        return snapshot
    _set_aside(damaged)
    return None


def load(path: Path) -> Snapshot:
    """Reads a checkpoint after verifying the checksum of every file, the models' too. Damaged if a bit has
    changed."""
    _check(path)
    try:
        about = json.loads((path / STATE / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(path / STATE / "tensors.safetensors")
        return Snapshot(about["step"], decode(about["state"], tensors), path)
    except (ValueError, KeyError, OSError, RecursionError) as error:
        raise Damaged(f"its state cannot be read: {error}") from error


def _set_aside(paths: list[Path]) -> None:
    for path in paths:
        aside = path.with_name(path.name + ".damaged")
        disk.remove(aside)
        os.replace(path, aside)


def _write_state(path: Path, snapshot: Snapshot) -> None:
    """Writes state.json and tensors.safetensors."""
    tensors: dict[str, Tensor] = {}
    about = {"step": snapshot.step, "state": encode(snapshot.state, tensors)}
    save_file(tensors, path / STATE / "tensors.safetensors")
    (path / STATE / "state.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")


def _files(path: Path) -> list[str]:
    names = (str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    return sorted(name for name in names if name != SEAL)


def _seal(path: Path) -> None:
    """Gives all files the permissions of new files, syncs them to the disk and writes their checksums."""
    names = _files(path)
    mode = path.stat().st_mode & 0o666
    for name in names:
        os.chmod(path / name, mode)  # safetensors makes files that only their owner can read
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
