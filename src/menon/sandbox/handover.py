"""Files that a test and the program give each other.

Each has a directory of its own. A file or directory that a test passes by its name, anywhere in the arguments
of a call, goes over to the program's directory; its other files do not. What the program makes, changes and
removes there comes back, except over a file of the test's own. Contents travel as messages, so that neither
process opens what the other can replace by a link or a pipe.
"""

import binascii
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal

PIECE = 1 << 20
"""Bytes of a file in one message."""
FRESH = 0.1
"""Seconds in which two writes of one file may leave the same time of change."""
LONGEST_NAME = 4096
BLOCK = 512
"""Where an empty directory takes less than this, as on tmpfs, its size grows with each entry."""
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK

Message = dict[str, Any]
State = tuple[int, int, int, int] | None
"""Of a file: inode, size, time of change, checksum. Of a directory: None."""


class Folder:
    """One side's directory, and what the other side has of it. Paths are relative to `root`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.shared: dict[str, State] = {}
        """What both sides have, as it was when they last agreed."""
        self.given: set[str] = set()
        """Paths that this side has named, whether anything was there or not."""
        self.kept: set[str] = set()
        """What the other side made, and this side has written over without ever naming it. The other side
        gets it, and changes it here no more."""
        self.withheld: set[str] = set()
        """What the other side has named itself, which is no reason to give it."""
        self.looked = 0.0
        self.descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        size = os.fstat(self.descriptor).st_size
        self.empty_size = size if size < BLOCK and not os.listdir(root) else None

    def has_nothing(self) -> bool:
        """Whether there is nothing to give and there never was. Asked at every call, so without listing where
        the size says so."""
        return not self.shared and self.is_empty()

    def is_empty(self) -> bool:
        return os.fstat(self.descriptor).st_size == self.empty_size or not os.listdir(self.root)

    def changes(self, names: Iterable[Any] | None = None) -> Iterator[Message]:
        """Messages about what changed of `shared`, and about what is new: below the paths among the strings
        in `names`, or anywhere if it is None."""
        if names is None:
            here = dict(self.below(""))
        else:
            here = dict(self.named(names := list(names)))
            self.name(names)
        for path in sorted(self.shared.keys() - here.keys(), reverse=True):  # what is inside comes first
            if (state := self.state(path, self.shared[path])) is False:
                del self.shared[path]
                yield {"file": path, "gone": True}
            else:
                here[path] = state
                if names is not None and state != self.shared[path] and not self.is_given(path):
                    self.kept.add(path)
        for path, state in sorted(here.items()):
            if path not in self.shared or self.shared[path] != state:
                self.shared[path] = state
                yield from self.messages(path, state)
        self.looked = time.time()

    def name(self, names: Iterable[Any]) -> None:
        """Notes the paths among the strings in `names`, which this side gives away from now on."""
        self.given |= set(self.paths(names))

    def is_given(self, path: str) -> bool:
        """Whether this side has named a path, or a directory that it is in."""
        parts = path.split(os.sep)
        return any(os.sep.join(parts[:depth]) in self.given for depth in range(len(parts) + 1))

    def named(self, names: Iterable[Any]) -> Iterator[tuple[str, State]]:
        for path in self.paths(names):
            if path in self.withheld:
                continue
            parents = [path[:at] for at, letter in enumerate(path) if letter == os.sep]
            state = self.state(path, self.shared.get(path)) if path else None
            if state is False or any(self.state(parent, None) is not None for parent in parents):
                continue
            yield from ((parent, None) for parent in parents)
            if path:
                yield path, state
            if state is None:
                yield from self.below(path)

    def paths(self, names: Iterable[Any]) -> Iterator[str]:
        for name in texts(names):
            path = os.path.relpath(os.path.abspath(name), self.root)
            if path.split(os.sep)[0] != os.pardir:
                yield "" if path == os.curdir else path

    def withhold(self, said: Iterable[Any]) -> None:
        """Notes the files of this side alone that the other side names in what it says. A test that passes
        such a name on does not give the file away."""
        if not self.is_empty():
            for path in self.paths(said):
                if path not in self.shared and self.state(path, None) is not False:
                    self.withheld.add(path)

    def below(self, folder: str) -> Iterator[tuple[str, State]]:
        """All files and directories in a directory; no links and nothing else."""
        try:
            names = os.listdir(os.path.join(self.root, folder))
        except OSError:
            return
        for name in names:
            path = os.path.join(folder, name)
            state = self.state(path, self.shared.get(path))
            if state is not False:
                yield path, state
            if state is None:
                yield from self.below(path)

    def state(self, path: str, before: State) -> State | Literal[False]:
        """How a file or directory is now; False if there is none. The checksum is taken from `before` where
        nothing else changed and the last look is long enough ago."""
        try:
            found = os.lstat(os.path.join(self.root, path))
            if stat.S_ISDIR(found.st_mode):
                return None
            if not stat.S_ISREG(found.st_mode):
                return False
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if before is not None and before[:3] == seen and found.st_mtime < self.looked - FRESH:
                return before
            return (*seen, self.checksum(path))
        except OSError:
            return False

    def checksum(self, path: str) -> int:
        total = 0
        for piece in self.pieces(path):
            total = binascii.crc32(piece, total)
        return total

    def pieces(self, path: str) -> Iterator[bytes]:
        descriptor = os.open(os.path.join(self.root, path), READ)
        try:
            while piece := os.read(descriptor, PIECE):
                yield piece
        finally:
            os.close(descriptor)

    def messages(self, path: str, state: State) -> Iterator[Message]:
        if state is None:
            yield {"file": path, "folder": True}
            return
        yield {"file": path, "begins": True}
        with suppress(OSError):
            for piece in self.pieces(path):
                yield {"file": path, "data": binascii.b2a_base64(piece, newline=False).decode()}

    def take(self, message: Message) -> None:
        """Does what a message of the other side says, if it is about something that both have or this side
        has not. ValueError: it is no such message."""
        path = message["file"]
        if not isinstance(path, str) or not is_inside(path):
            raise ValueError("a path leads out")
        now, agreed = self.state(path, self.shared.get(path)), self.shared.get(path, False)
        if path in self.kept - self.given or now not in (False, agreed):
            return  # a file of this side's own, perhaps only since it was written over
        with suppress(OSError):
            place = os.path.join(self.root, path)
            if message.get("gone"):
                state = self.shared.pop(path, False)
                (os.rmdir if state is None else os.unlink)(place)
                return
            if message.get("folder"):
                os.makedirs(place, exist_ok=True)
            else:
                self.write(place, message)
            state = self.state(path, None)
            if state is not False:
                self.shared[path] = state

    def write(self, place: str, message: Message) -> None:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        descriptor = os.open(place, WRITE | (os.O_TRUNC if message.get("begins") else os.O_APPEND), 0o600)
        try:
            data = binascii.a2b_base64(message.get("data", ""))
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)


def is_inside(path: str) -> bool:
    parts = path.split(os.sep)
    return "\0" not in path and not {"", os.curdir, os.pardir} & set(parts)


def texts(values: Iterable[Any]) -> Iterator[str]:
    """The strings in values and in the plain containers among them that may be paths."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if 0 < len(value) < LONGEST_NAME and "\0" not in value:
                yield value
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
