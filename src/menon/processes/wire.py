"""The wire format between this process and its workers.

A message is a header (its kind and two lengths), data as JSON, and optional raw bytes. The data is JSON
because reading it runs no code, and a worker may hold a user's functions or libraries that parse a model's
text. The bytes carry what JSON cannot, such as pickled completions; only workers that run nothing but our own
code use them.
"""

import json
import os
import socket
import struct
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

HEADER = struct.Struct("!cIQ")
"""Kind, length of the JSON, length of the bytes."""
MESSAGE, ERROR = b"m", b"e"
ALIGNED = 16
"""The JSON is filled up to a multiple of so many bytes, so that numbers can be used where they arrive."""
FIRST = 2**24
"""Bytes that are claimed for a message before any of it is there."""


class Closed(Exception):
    """The process at the other end is gone."""


class RemoteError(Exception):
    """An exception in the worker: the name of its type, its message, and `file.py:line` of where it was
    raised, or ""."""

    def __init__(self, kind: str, text: str, place: str = "") -> None:
        super().__init__(kind, text, place)
        self.kind, self.text, self.place = kind, text, place

    @staticmethod
    def of(error: BaseException) -> "RemoteError":
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        return RemoteError(type(error).__name__, str(error), place)

    def encode(self) -> bytes:
        return encode([self.kind, self.text, self.place], kind=ERROR)

    def __str__(self) -> str:
        return self.kind + f": {self.text}" * bool(self.text) + f" ({self.place})" * bool(self.place)


class Message(NamedTuple):
    data: Any
    """Anything that JSON can hold."""
    body: bytes | memoryview = b""
    """One that was received may be written to, and begins at a multiple of `ALIGNED` bytes."""


def encode(data: Any, body: bytes | memoryview = b"", kind: bytes = MESSAGE) -> bytes:
    """A message as it is sent. TypeError or ValueError if JSON cannot hold `data`."""
    head = json.dumps(data).encode()
    head += b" " * (-len(head) % ALIGNED)
    return HEADER.pack(kind, len(head), len(body)) + head + body


class Connection:
    """One end of a socket. Times called `end` are those of `time.monotonic`; None waits for ever.

    One thread may send while another receives, if neither has a time limit.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    def send(self, data: Any, body: bytes | memoryview = b"") -> None:
        self.write(encode(data, body))

    def write(self, encoded: bytes, end: float | None = None) -> None:
        """Sends an encoded message. TimeoutError, Closed."""
        self._set_limit(end)
        try:
            self.socket.sendall(encoded)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(error)) from None

    def receive(self, end: float | None = None) -> Message:
        """The next message. TimeoutError, Closed; RemoteError if the worker sent an exception."""
        kind, head, body = HEADER.unpack(self._read(HEADER.size, end))
        encoded = self._read(head + body, end)
        data = json.loads(encoded[:head])
        if kind == ERROR:
            raise RemoteError(*data)
        return Message(data, memoryview(encoded)[head:])

    def waiting(self) -> bool:
        """Whether `receive` would find something at once: a message, or the end of the connection."""
        try:
            self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def send_descriptors(self, *descriptors: int) -> None:
        """Gives the process at the other end open files of this one."""
        try:
            socket.send_fds(self.socket, [b"d"], descriptors)
        except OSError as error:
            raise Closed(str(error)) from None

    def receive_descriptors(self, count: int) -> list[int]:
        piece, descriptors, _, _ = socket.recv_fds(self.socket, 1, count)
        if not piece:
            raise Closed("end of stream")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return list(descriptors)

    def hang_up(self) -> None:
        """Ends both directions, from any thread: one that sends or receives gets Closed."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.socket.close()

    def _read(self, size: int, end: float | None) -> bytearray:
        """Exactly `size` bytes: the next message, and descriptors sent after this one, stay in the socket."""
        buffer, there = bytearray(min(size, FIRST)), 0
        while there < size:
            if there == len(buffer):
                buffer.extend(bytes(min(there, size - there)))
            self._set_limit(end)
            try:
                with memoryview(buffer) as view:
                    count = self.socket.recv_into(view[there:])
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed(str(error)) from None
            if not count:
                raise Closed("end of stream")
            there += count
        return buffer

    def _set_limit(self, end: float | None) -> None:
        if end is not None:
            self.socket.settimeout(max(end - time.monotonic(), 1e-6))
        elif self.socket.gettimeout() is not None:
            self.socket.settimeout(None)
