"""Ways to the weights of an engine in another process: files in memory, or a broadcast."""

import base64
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor

from menon.engines.broadcast import Broadcast
from menon.engines.engine_sampler import EngineSampler
from menon.engines.piece_files import piece_files

Begins = Callable[[str, str], AbstractContextManager[Callable[[], Any]]]
"""Begins a call, which goes on until what it gives is called, and that returns what the call returns."""
BATCH = 2**28
"""Bytes of tensors that are on the way at a time; a larger tensor goes alone."""
MEMORY = Path("/dev/shm")
"""A folder in memory, where the system has one."""


def batches(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Tensors in batches of at most `BATCH` bytes. They are copied, because a caller may hand out one tensor
    only at a time."""
    batch: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if batch and size + tensor.nbytes > BATCH:
            yield batch
            batch, size = {}, 0
        batch[name] = tensor.detach().clone().contiguous()
        size += tensor.nbytes
    if batch:
        yield batch


class ByFile:
    """Writes tensors into files, which the engine reads and copies into its weights: while it copies those of
    one, the next is written. `begun` begins a call of a function of the engine, by its name."""

    def __init__(self, begun: Begins, folder: Path) -> None:
        self.begun, self.folder = begun, folder

    def carry(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        files = piece_files(tensors, self.folder)
        file = next(files, None)
        while file is not None:
            with self.begun("load", str(file)) as loaded:
                try:
                    file = next(files, None)
                finally:
                    loaded()


class ByReload:
    """Writes a whole Hugging Face folder, which the engine loads by its own means, as at its start."""

    def __init__(self, call: Callable[[str, str], Any], folder: Path) -> None:
        self.call, self.folder = call, folder

    def carry(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        for file in self.folder.glob("model*.safetensors*"):
            file.unlink()
        where: dict[str, str] = {}
        for number, batch in enumerate(batches(tensors)):
            name = f"model-{number:05}.safetensors"
            save_file({key: tensor.cpu() for key, tensor in batch.items()}, self.folder / name)
            where |= dict.fromkeys(batch, name)
        index = {"metadata": {}, "weight_map": where}
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        self.call("reload", str(self.folder))
        for name in {*where.values()}:
            (self.folder / name).unlink()  # it would take memory until the end of the run


class ByBroadcast:
    """Broadcasts tensors to all workers of the engine, over gloo or NCCL."""

    def __init__(self, sampler: EngineSampler, broadcast: Broadcast) -> None:
        self.sampler, self.broadcast = sampler, broadcast
        with sampler.begun("meet", broadcast.meeting) as met:
            broadcast.meet()
            met()

    def carry(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        for batch in batches(tensors):
            names, own = list(batch), list(batch.values())
            dtypes = [str(tensor.dtype).removeprefix("torch.") for tensor in own]
            shapes = [list(tensor.shape) for tensor in own]
            with self.sampler.begun("receive", names, dtypes, shapes) as received:
                try:
                    self.broadcast.send(iter(own))
                finally:
                    received()  # an engine that failed says why, where the broadcast only ran out of time


class ByIpc:
    """Shows the engine the learner's own tensors in the memory of the GPU that both use. It copies them into
    its weights; nothing passes the host but their addresses."""

    def __init__(self, call: Callable[[str, str], Any]) -> None:
        self.call = call

    def carry(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        for batch in batches(tensors):
            handles = {name: reduce_tensor(tensor) for name, tensor in batch.items()}
            # Pickled by us, for a process of ours: a handle has a function that opens it.
            self.call("map", base64.b64encode(pickle.dumps(handles)).decode())


def scratch(needed: int) -> "tempfile.TemporaryDirectory[str]":
    """A folder for files of so many bytes, in memory where that has room for them twice."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * needed
    return tempfile.TemporaryDirectory(prefix="menon-weights-", dir=MEMORY if roomy else None)
