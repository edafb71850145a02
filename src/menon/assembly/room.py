"""Whether a run's folder can be written and its disk holds the checkpoints, said before a model is loaded."""

import resource
import shutil
from pathlib import Path

from menon.assembly.derived import GIB, ModelSize, size_of_model
from menon.assembly.models import model_name
from menon.base import BASES
from menon.config import Control, Models, Policy
from menon.engines.hf_models import quiet
from menon.engines.model_files import dtypes_in
from menon.engines.model_folders import folder_of
from menon.errors import UserError
from menon.record import disk
from menon.record.checkpoint import KEEP
from menon.record.layout import Layout, steps_in

MOMENTS, NUMBER = 8, 4
"""Bytes of AdamW's two moments of a weight, and of a weight in float32."""


def check_folder(models: Models, control: Control, out: Path) -> None:
    """UserError if the run's folder `out` cannot be written, or its disk cannot hold the checkpoints."""
    place = disk.check_place(out, "the run folder", "folder")
    with quiet():
        folder = folder_of(model_name(models.policy.model), adapters=True)
    size = size_of_model(str(folder))
    if size is not None:  # an adapter whose model is not on this disk
        check_disk(models, control, size, folder, place, len(steps_in(Layout(out).checkpoints)))


def check_disk(
    models: Models, control: Control, size: ModelSize, folder: Path, place: Path, there: int = 0
) -> None:
    """UserError if the checkpoints of a run, of which some are `there` already, are more than the disk of a
    place has free, or if the system cuts files of their size."""
    each, largest = checkpoint_bytes(models, control.save_dtype, size, folder)
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most != resource.RLIM_INFINITY and largest > most:
        raise UserError(
            f"a checkpoint has a file of {largest / GIB:.2f} GiB, and this process may write files of "
            f"{most / GIB:.2f} GiB at most (ulimit -f); raise it by `ulimit -f unlimited`"
        )
    count = max(1, checkpoints_at_once(control) - there)
    free = shutil.disk_usage(place).free
    if count * each > free:
        fewer = ", or save_every=0 to save only the last one" if count > 1 else ""
        raise UserError(
            f"the run writes {count} checkpoint{'s' * (count > 1)} of {each / GIB:.2f} GiB that "
            f"{'are' if count > 1 else 'is'} kept at a time, and the disk of {place} has {free / GIB:.2f} "
            f"GiB free; make room, set out= to a folder on a larger disk{fewer}"
        )


def checkpoint_bytes(models: Models, save_dtype: str, size: ModelSize, folder: Path) -> tuple[int, int]:
    """Bytes of a checkpoint and of its largest file: the model for other tools, the weights that trained
    where the former rounds them, and AdamW's moments; the same of a critic."""
    adapter, critic = models.policy.adapter, models.critic
    learned = size.parameters if adapter is None else size.adapter_size(adapter)
    number = bytes_in_files(models.policy, save_dtype, folder)
    rounded = NUMBER if number < NUMBER else 0
    moments = 0 if models.policy.natural is not None else MOMENTS
    found = learned * (number + rounded + moments)
    if critic is not None and not critic.shared_trunk:
        found += learned * (NUMBER + MOMENTS)
        moments += MOMENTS
    return found, learned * max(moments, NUMBER)


def bytes_in_files(policy: Policy, save_dtype: str, folder: Path) -> int:
    """Bytes of a weight in the files that other tools read; see `models.saved_dtypes`."""
    if save_dtype != "auto":
        return 2 if save_dtype == "bfloat16" else NUMBER
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
