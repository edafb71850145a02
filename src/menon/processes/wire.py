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
    body: bytes = b""


def encode(data: Any, body: bytes = b"", kind: bytes = MESSAGE) -> bytes:
    """A message as it is sent. TypeError or ValueError if JSON cannot hold `data`."""
    head = json.dumps(data).encode()
    return HEADER.pack(kind, len(head), len(body)) + head + body


class Connection:
    """One end of a socket. Times called `end` are those of `time.monotonic`; None waits for ever.

    One thread may send while another receives, if neither has a time limit.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end

    def send(self, data: Any, body: bytes = b"") -> None:
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
        return Message(data, encoded[head:])

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

    def _read(self, size: int, end: float | None) -> bytes:
        """Exactly `size` bytes: the next message, and descriptors sent after this one, stay in the socket."""
        pieces: list[bytes] = []
        while size:
            self._set_limit(end)
            try:
                piece = self.socket.recv(min(size, 1 << 20))
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed(str(error)) from None
            if not piece:
                raise Closed("end of stream")
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _set_limit(self, end: float | None) -> None:
        if end is not None:
            self.socket.settimeout(max(end - time.monotonic(), 1e-6))
        elif self.socket.gettimeout() is not None:
            self.socket.settimeout(None)
