"""The numbers of a run's JSON-lines files as columns, read on from where the last reading ended."""

import json
import math
import os
import threading
from array import array
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_FILES = 64
"""Files whose columns are kept; the one that was asked for longest ago goes first."""
LARGEST = 1e308
"""Numbers beyond it are not drawn."""
HEAD = 64
"""Bytes at the start of a file that tell whether it was written anew."""


class Followed:
    """A file of JSON lines that may grow while it is read.

    `read` reads what was written since the last time. A file that was written anew (a resumed run cuts its
    lines back) is read from its start. Reading stops at a line that is no JSON object; a last line without
    its end is left for the next time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.inode, self.head = 0, b""
        self.position = 0
        """Bytes of the file that are read."""
        self.damaged = False
        """Whether the line at `position` cannot be read."""
        self.steps = array("d")
        self.columns: dict[str, array[float]] = {}

    def read(self) -> "Followed":
        """Reads the new lines, if there are any, and returns itself."""
        with self.lock:
            try:
                if not self.path.is_file():
                    raise FileNotFoundError(self.path)
                with open(self.path, "rb") as file:
                    inode, head = os.fstat(file.fileno()).st_ino, file.read(HEAD)
                    size = file.seek(0, os.SEEK_END)
                    if inode != self.inode or size < self.position or not head.startswith(self.head):
                        self.clear()
                    self.inode, self.head = inode, head[: self.position]
                    file.seek(self.position)
                    if not self.damaged:
                        self.take(file.read())
                        self.head = head[: self.position]
            except OSError:
                self.clear()
        return self

    def take(self, data: bytes) -> None:
        """Adds the whole lines of what follows `position`."""
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                self.damaged = True
                return
            self.position += len(line)
            step = value.get("step")
            if isinstance(step, int) and not isinstance(step, bool):
                self.add(step, value)

    def add(self, step: int, line: dict[str, object]) -> None:
        """Adds one line; a column without a number in it has NaN there."""
        count = len(self.steps)
        self.steps.append(step)
        for name, value in line.items():
            if name == "step" or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            column = self.columns.setdefault(name, array("d"))
            column.extend([math.nan] * (count - len(column)))
            column.append(float(value) if abs(value) < LARGEST else math.nan)

    def column(self, name: str) -> tuple[Floats, Floats]:
        """The steps [K] and the values [K] of a number; NaN where a line has none."""
        with self.lock:
            found = self.columns.get(name, array("d"))
            values = np.full(len(self.steps), np.nan)
            values[: len(found)] = found
            return np.array(self.steps), values

    def names(self) -> list[str]:
        """Numbers that some line has, in the order of the file."""
        with self.lock:
            return list(self.columns)


class Followers:
    """The followed files, by path."""

    def __init__(self, most: int = MOST_FILES) -> None:
        self.most, self.files = most, OrderedDict[Path, Followed]()
        self.lock = threading.Lock()

    def read(self, path: Path) -> Followed:
        """The file at a path with everything that is written so far; an empty one where there is none."""
        with self.lock:
            found = self.files.pop(path, None) or Followed(path)
            self.files[path] = found
            while len(self.files) > self.most:
                self.files.popitem(last=False)
        return found.read()
