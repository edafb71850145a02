"""Whether a run fits into the memory and onto the disk of this machine, said before a model is loaded."""

import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from menon.assembly.derived import (
    GIB,
    LEARNING,
    ModelSize,
    assumed_length,
    memory,
    size_of_model,
)
from menon.assembly.models import device_of, model_name
from menon.base import BASES
from menon.config import Control, RunConfig
from menon.engine_settings import ThisMachine
from menon.engines.hf_models import folder_of, quiet
from menon.engines.machine import free_bytes
from menon.engines.model_files import dtypes_in
from menon.engines.weight_files import billions
from menon.errors import UserError
from menon.record import disk
from menon.record.checkpoint import KEEP
from menon.record.layout import Layout, steps_in
from menon.update.adapter import Adapter

KEPT = ("weights", "gradients", "optimiser", "reference", "teacher")
"""What is in memory whatever a step's texts are, by its name in `derived.memory`."""
RANK = 32
"""The rank of the adapter that is proposed where a whole model does not fit."""
MOMENTS, NUMBER = 8, 4
"""Bytes of AdamW's two moments of a weight, and of a weight in float32."""


def check_room(config: RunConfig, out: Path, notify: Callable[[str], None]) -> None:
    """UserError if the run's folder `out` cannot be written, its disk cannot hold the checkpoints, or the
    models are more than the free memory. `notify` hears of an update that may be."""
    place = disk.check_place(out, "the run folder", "folder")
    name = config.models.policy.model
    with quiet():
        folder = folder_of(model_name(name), adapters=True)
    size = size_of_model(str(folder))
    if size is None:  # an adapter whose model is not on this disk
        return
    if holds_models(config):
        check_memory(config, size, notify)
    check_disk(config, size, folder, place, len(steps_in(Layout(out).checkpoints)))


def holds_models(config: RunConfig) -> bool:
    """Whether the models of a run, not built-in ones, are whole and on this machine."""
    engine, name = config.engine, config.models.policy.model
    return name not in BASES and engine.ranks == 1 and isinstance(engine.placement, ThisMachine)


def check_memory(config: RunConfig, size: ModelSize, notify: Callable[[str], None]) -> None:
    """UserError if what the models of a run hold while they learn is more than the free memory."""
    name, free = config.models.policy.model, free_bytes(device_of(config.engine.device))
    kept, learning, teacher = held(config, size)
    if kept > free and teacher > kept / 2:
        raise UserError(
            f"the teacher of {name} takes {teacher / GIB:.1f} GiB, and {free / GIB:.1f} GiB of memory are "
            "free; take a smaller teacher, or learn from texts that it has written (distill_data)"
        )
    if kept > free:
        adapter = config.models.policy.adapter
        what = "all weights of" if adapter is None else "an adapter of"
        smaller = f"a model of at most {billions(free / kept * size.parameters)} weights"
        raise UserError(
            f"training {what} {name} ({billions(size.parameters)}) takes {kept / GIB:.1f} GiB besides a "
            f"step's texts, and {free / GIB:.1f} GiB of memory are free; take {advice(config, size, free)}"
            f"{smaller}"
        )
    if kept + learning > free:
        notify(
            f"an update of {name} may take {(kept + learning) / GIB:.1f} GiB, and {free / GIB:.1f} GiB of "
            "memory are free; if the run is killed, lower tokens_per_forward and max_new_tokens"
        )


def held(config: RunConfig, size: ModelSize) -> tuple[float, float, float]:
    """Bytes of the run's models while they learn, of what an update needs besides, and of the teachers among
    the models."""
    length = assumed_length(config.source.max_new_tokens, size)
    found = memory(replace(config, source=replace(config.source, max_new_tokens=length)), size)
    kept = sum(found.get(part, 0) for part in KEPT)
    learning = sum(found.get(part, 0) for part in LEARNING if part not in KEPT)
    return kept, learning, found.get("teacher", 0)


def advice(config: RunConfig, size: ModelSize, free: float) -> str:
    """The beginning of the advice: an adapter, where one is not asked for and would fit."""
    if config.models.policy.adapter is not None:
        return ""
    policy = replace(config.models.policy, adapter=Adapter(rank=RANK))
    kept, *_ = held(replace(config, models=replace(config.models, policy=policy)), size)
    if max(kept, NUMBER * size.parameters) > free:
        return ""
    return f"adapter.rank={RANK} ({kept / GIB:.1f} GiB), or "


def check_disk(config: RunConfig, size: ModelSize, folder: Path, place: Path, there: int = 0) -> None:
    """UserError if the checkpoints of a run, of which some are `there` already, are more than the disk of a
    place has free, or if the system cuts files of their size."""
    each, largest = checkpoint_bytes(config, size, folder)
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most != resource.RLIM_INFINITY and largest > most:
        raise UserError(
            f"a checkpoint has a file of {largest / GIB:.2f} GiB, and this process may write files of "
            f"{most / GIB:.2f} GiB at most (ulimit -f); raise it by `ulimit -f unlimited`"
        )
    count = max(1, checkpoints_at_once(config.control) - there)
    free = shutil.disk_usage(place).free
    if count * each > free:
        fewer = ", or save_every=0 to save only the last one" if count > 1 else ""
        raise UserError(
            f"the run writes {count} checkpoint{'s' * (count > 1)} of {each / GIB:.2f} GiB that "
            f"{'are' if count > 1 else 'is'} kept at a time, and the disk of {place} has {free / GIB:.2f} "
            f"GiB free; make room, set out= to a folder on a larger disk{fewer}"
        )


def checkpoint_bytes(config: RunConfig, size: ModelSize, folder: Path) -> tuple[int, int]:
    """Bytes of a checkpoint and of its largest file: the model for other tools, the weights that trained
    where the former rounds them, and AdamW's moments; the same of a critic."""
    models = config.models
    adapter, critic = models.policy.adapter, models.critic
    learned = size.parameters if adapter is None else size.adapter_size(adapter)
    number = bytes_in_files(config, folder)
    rounded = NUMBER if number < NUMBER else 0
    moments = 0 if models.policy.natural is not None else MOMENTS
    found = learned * (number + rounded + moments)
    if critic is not None and not critic.shared_trunk:
        found += learned * (NUMBER + MOMENTS)
        moments += MOMENTS
    return found, learned * max(moments, NUMBER)


def bytes_in_files(config: RunConfig, folder: Path) -> int:
    """Bytes of a weight in the files that other tools read; see `models.saved_dtypes`."""
    setting, policy = config.control.save_dtype, config.models.policy
    if setting != "auto":
        return 2 if setting == "bfloat16" else NUMBER
    if policy.adapter is not None or policy.model in BASES:
        return NUMBER
    return dtypes_in(folder).usual.itemsize


def checkpoints_at_once(control: Control) -> int:
    """The most checkpoints of a run that are on the disk at a time: the newest and the best are kept, and one
    is being written before an older one is removed.

    >>> checkpoints_at_once(Control(steps=30, save_every=0)), checkpoints_at_once(Control(steps=30))
    (1, 2)
    >>> checkpoints_at_once(Control(steps=100)), checkpoints_at_once(Control(steps=100, evaluate_every=20))
    (3, 4)
    """
    saves = -(-control.steps // control.save_every) if control.save_every else 1
    return min(saves, KEEP + 1 + (control.evaluate_every > 0))
