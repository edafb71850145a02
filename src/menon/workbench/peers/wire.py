"""Records of TensorBoard and Weights & Biases, read without their packages: the framing of the files, and
protocol buffers by the numbers of their fields."""

import struct
from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
BLOCK = 32768
"""Bytes of a block in a log of LevelDB's form."""


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of the fields of a message: an int, or the bytes of a fixed or nested value. ValueError
    for what is no message."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = varint(data, place)
            yield number, value
            continue
        if kind == BYTES:
            size, place = varint(data, place)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if place + size > len(data):
            raise ValueError("a field ends beyond its message")
        yield number, data[place : place + size]
        place += size


def varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("a number that does not end")
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def signed(value: int) -> int:
    """A varint of 64 bits as a signed number."""
    return value - (1 << 64) if value >> 63 else value


def tfrecords(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file; a record that is half-written is left out."""
    place = 0
    while place + 12 <= len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        if place + 16 + size > len(data):
            return
        yield data[place + 12 : place + 12 + size]
        place += 16 + size


def leveldb_records(data: bytes, place: int = 7) -> Iterator[bytes]:
    """The records of a log of LevelDB's form, whose first block begins with a header of 7 bytes; what is
    half-written is left out."""
    parts: list[bytes] = []
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        if kind == 0 or place + 7 + size > len(data):
            return
        part, place = data[place + 7 : place + 7 + size], place + 7 + size
        if kind in (1, 2):  # a whole record, or the first part of one
            parts = []
        parts.append(part)
        if kind in (1, 4):  # a whole record, or the last part
            yield b"".join(parts)
            parts = []
