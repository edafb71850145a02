"""Keys and values of finished sequences, kept for requests that continue them: turns, segments, trees."""

from bisect import bisect_left, insort

import numpy as np
from torch import Tensor

from menon.types import Tokens


class PrefixCache:
    """Starts by their tokens, found by the longest common prefix. The cache takes at most `room` bytes; when
    it is full, nothing is added.  Big-endian tokens sort as numbers do, so a sequence shares its longest
    common prefix with one of its neighbours in that order.
    """

    def __init__(self, room: int) -> None:
        self.room = self.whole = room
        self.version: int | None = None
        """Version of the weights that computed the contents."""
        self.keys: list[bytes] = []
        self.starts: dict[bytes, Tensor] = {}

    def at(self, version: int) -> "PrefixCache":
        """The cache for this version of the weights: entries of another version are removed."""
        if version != self.version:
            self.room += sum(start.nbytes for start in self.starts.values())
            self.keys, self.starts, self.version = [], {}, version
        return self

    def add(self, tokens: Tokens, start: Tensor) -> None:
        """Adds a start [..., length, head_dim], which the cache then owns. It replaces the longest entry that
        is a prefix of it."""
        key = tokens.astype(">i4").tobytes()
        place = bisect_left(self.keys, key)
        if place < len(self.keys) and self.keys[place].startswith(key):
            return
        shorter = self.keys[place - 1] if place and key.startswith(self.keys[place - 1]) else None
        room = self.room - start.nbytes + (0 if shorter is None else self.starts[shorter].nbytes)
        if room < 0:
            return
        if shorter is not None:
            del self.keys[place - 1]
            del self.starts[shorter]
        self.room = room
        insort(self.keys, key)
        self.starts[key] = start

    def find(self, tokens: Tokens) -> Tensor | None:
        """A view of the longest start that is a prefix of these tokens; None if no entry shares a token."""
        wanted = tokens.astype(">i4")
        place = bisect_left(self.keys, wanted.tobytes())
        best, longest = None, 0
        for key in self.keys[max(0, place - 1) : place + 1]:
            other = np.frombuffer(key, dtype=">i4")
            size = min(len(other), len(wanted))
            differ = np.flatnonzero(other[:size] != wanted[:size])
            common = int(differ[0]) if len(differ) else size
            if common > longest:
                best, longest = self.starts[key], common
        return None if best is None else best[..., :longest, :]
