"""The answers of every step in one file beside a folder of transcripts, without their tokens.

A list or a filter over a whole run needs the numbers and texts of each answer. The transcripts have them, but
opening a thousand Parquet files takes seconds. So each step appends an entry to `transcripts.index`: a head,
the numbers of its answers, and their texts, both compressed. Everything in it stands in the transcripts too:
where the index is absent, older than a transcript or damaged, they are read.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from menon.record import disk
from menon.record.answer_numbers import NUMBERS, TEXTS, numbers_of, texts_of
from menon.record.layout import index_file
from menon.unpacking import FREE, TIMES

HEAD = struct.Struct("<8s6Q")
"""`MARK`; step; bytes of its transcript; and of numbers and of texts each the bytes here and unfolded."""
MARK = b"answers1"
NO_TEXT, NO_COLUMN = -1, -2
"""What stands for the length of a text that is null, and of one whose column the transcript lacks."""


@dataclass(frozen=True)
class Entry:
    """What the index has of a step, S answers."""

    transcript: int
    """Bytes of the transcript that it was made of; of another one the entry says nothing."""
    numbers: NDArray[np.void]
    """[S] `answer_numbers.NUMBERS`."""
    place: int
    """Where its texts begin in the file."""
    packed: int
    unfolded: int


def append(transcript: Path, step: int, table: pa.Table) -> None:
    """Adds the answers of a step, which have been written to its transcript. OSError if there is no room."""
    codec = pa.Codec("zstd")
    numbers = numbers_of(table, step).tobytes()
    texts = as_bytes(texts_of(table))
    parts = [codec.compress(part, asbytes=True) for part in (numbers, texts)]
    size = transcript.stat().st_size
    head = HEAD.pack(MARK, step, size, len(parts[0]), len(numbers), len(parts[1]), len(texts))
    disk.append(index_file(transcript.parent), b"".join([head, *parts]))


def rewind(folder: Path, step: int) -> None:
    """Removes the entries after a step, and an incomplete last one."""
    file = index_file(folder)
    if file.exists():
        disk.write(file, file.read_bytes()[: AnswerIndex(folder).end_of(step)])


class AnswerIndex:
    """Reads the index of a folder, also while it grows."""

    def __init__(self, folder: Path) -> None:
        self.file = index_file(folder)
        self._entries: dict[int, Entry] = {}
        self._end = 0
        self._inode = -1

    def find(self, step: int, transcript: int) -> Entry | None:
        """The entry of a step, if its transcript has this size in bytes."""
        entry = self._entries.get(step)
        return entry if entry is not None and entry.transcript == transcript else None

    def read(self) -> None:
        """Reads what has been added since the last time; a file that is not there has nothing."""
        try:
            with open(self.file, "rb") as file:
                about = os.fstat(file.fileno())
                if about.st_ino != self._inode or about.st_size < self._end:  # a resumed run has cut it
                    self._entries, self._end, self._inode = {}, 0, about.st_ino
                file.seek(self._end)
                while entry := read_entry(file, about.st_size):
                    step, found = entry
                    self._entries[step] = found
                    self._end = file.tell()
        except OSError:
            return

    def texts(self, entry: Entry) -> pa.Table | None:
        """What `answer_numbers.texts_of` says of an entry's answers; None if it cannot be read."""
        try:
            with open(self.file, "rb") as file:
                file.seek(entry.place)
                return as_table(unfolded(file.read(entry.packed), entry.unfolded), len(entry.numbers))
        except (OSError, ValueError, TypeError, pa.ArrowException):
            return None

    def end_of(self, step: int) -> int:
        """The bytes up to the end of the last entry before the first one of a later step."""
        self.read()
        ends = [one.place + one.packed for number, one in self._entries.items() if number <= step]
        return max(ends, default=0)


def read_entry(file: Any, size: int) -> tuple[int, Entry] | None:
    """The step and the entry that begin here, with the file at its end; None if it is not whole."""
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    mark, step, transcript, packed, whole, texts, unfolds = HEAD.unpack(head)
    place = file.tell() + packed
    if mark != MARK or place + texts > size:
        return None
    try:
        numbers = np.frombuffer(unfolded(file.read(packed), whole), dtype=NUMBERS)
    except (OSError, ValueError, pa.ArrowException):
        return None
    file.seek(place + texts)
    return step, Entry(transcript, numbers, place, texts, unfolds)


def as_bytes(texts: pa.Table) -> bytes:
    """The texts of S answers: [len(TEXTS), S] lengths in bytes, and then all texts of one column after
    another."""
    lengths = np.full((len(TEXTS), texts.num_rows), NO_COLUMN, dtype="<i4")
    pieces = []
    for name in texts.column_names:
        column = [text if text is None else text.encode() for text in texts[name].to_pylist()]
        lengths[TEXTS.index(name)] = [NO_TEXT if text is None else len(text) for text in column]
        pieces += [text for text in column if text]
    return lengths.tobytes() + b"".join(pieces)


def as_table(data: bytes, count: int) -> pa.Table:
    """The texts of `count` answers that `as_bytes` wrote. ValueError if it did not."""
    lengths = np.frombuffer(data, "<i4", len(TEXTS) * count).reshape(len(TEXTS), count)
    ends = np.zeros((len(TEXTS), count + 1), dtype=np.int64)
    np.cumsum(np.maximum(lengths, 0), axis=1, out=ends[:, 1:])
    bounds = lengths.nbytes + np.cumsum([0, *ends[:, -1]])
    if bounds[-1] > len(data):
        raise ValueError("the texts are shorter than their lengths say")
    there = np.packbits(lengths != NO_TEXT, axis=1, bitorder="little")
    columns = {}
    for place, name in enumerate(TEXTS):
        if not (lengths[place] == NO_COLUMN).any():
            texts = data[bounds[place] : bounds[place + 1]]
            buffers = [pa.py_buffer(one) for one in (there[place], ends[place], texts)]
            columns[name] = pa.LargeStringArray.from_buffers(count, buffers[1], buffers[2], buffers[0])
            columns[name].validate(full=True)
    return pa.table(columns)


def unfolded(packed: bytes, size: int) -> bytes:
    """What was compressed to `packed`. ValueError for a size that is none: more than `menon.unpacking` lets a
    file of these bytes have."""
    if size > max(TIMES * len(packed), FREE):
        raise ValueError(f"{len(packed)} bytes do not unfold to {size}")
    return pa.Codec("zstd").decompress(packed, decompressed_size=size, asbytes=True) if size else b""
