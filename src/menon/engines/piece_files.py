"""Weights on their way to another process of this machine: files in safetensors form that are written again
and again.

`safetensors.torch.save_file` copies each tensor twice and makes the file anew each time. Most of its time is
that of memory that is claimed for the first time (on a CPU eight times that of copying into memory that is
there), so these files stay, and tensors go into them straight from where they are.
"""

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PIECE = 2**26
"""Bytes of tensors in a file; a larger tensor has one alone."""
HEAD = 2**16
"""Bytes at the beginning of a file, for the names of its tensors."""
FORMS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}


class PieceFile:
    """A file of several tensors. It may exist already: it is overwritten, and has its new length after
    `done`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self.file = open(path, "r+b")  # noqa: SIM115  # `done` closes it
        self.names: dict[str, Any] = {}
        self.used = self.head = 0

    def takes(self, name: str, tensor: Tensor) -> bool:
        """Whether another tensor has room."""
        fits = self.used + tensor.nbytes <= PIECE and self.head + longest_line(name) <= HEAD - 8
        return fits or not self.names

    def add(self, name: str, tensor: Tensor) -> None:
        """Writes a tensor, from any device."""
        ends = [self.used, self.used + tensor.nbytes]
        line = {"dtype": FORMS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": ends}
        self.names[name] = line
        self.head += longest_line(name)
        self.file.seek(HEAD + self.used)
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            self.file.write(flat.view(torch.uint8).numpy().data)
        self.used += tensor.nbytes

    def done(self) -> Path:
        """The path of the file, which is complete."""
        head = json.dumps(self.names).encode().ljust(HEAD - 8)
        self.file.seek(0)
        self.file.write(len(head).to_bytes(8, "little") + head)
        self.file.truncate(HEAD + self.used)
        self.file.close()
        return self.path


def longest_line(name: str) -> int:
    """Most bytes that a tensor of this name takes in the head of a file."""
    return len(json.dumps(name)) + 256


def piece_files(tensors: Iterator[tuple[str, Tensor]], folder: Path) -> Iterator[Path]:
    """Files with all tensors, in two files of a folder in turn: while one is read, the other is written. One
    that was handed out must not be read after the next but one is asked for."""
    files = cycle(folder / f"weights-{number}.safetensors" for number in range(2))
    piece: PieceFile | None = None
    for name, tensor in tensors:
        if piece is not None and not piece.takes(name, tensor):
            yield piece.done()
            piece = None
        piece = piece or PieceFile(next(files))
        piece.add(name, tensor)
    if piece is not None:
        yield piece.done()
