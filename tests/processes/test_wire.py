"""Messages of any size arrive as they were sent, and their bytes can be used as numbers where they are."""

import socket
import threading

import numpy as np
import pytest

from menon.processes import wire
from menon.processes.wire import Closed, Connection


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours), Connection(theirs)


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 250, 1_000_003])
def test_bodies_larger_than_what_is_claimed_first(ends, size, monkeypatch):
    monkeypatch.setattr(wire, "FIRST", 100)
    ours, theirs = ends
    body = np.random.default_rng(size).bytes(size)
    sender = threading.Thread(target=ours.send, args=(["name", "ü" * size if size < 300 else ""], body))
    sender.start()
    message = theirs.receive()
    sender.join()
    assert message.data[0] == "name"
    assert bytes(message.body) == body


def test_numbers_are_used_where_they_arrive(ends):
    ours, theirs = ends
    for name in ("a", "bcd", "e" * 17):
        numbers = np.arange(5, dtype=np.float32)
        ours.send([name], memoryview(numbers).cast("B"))
        message = theirs.receive()
        found = np.frombuffer(message.body, np.float32)
        assert found.ctypes.data % wire.ALIGNED == np.frombuffer(bytearray(64), np.uint8).ctypes.data % 16
        found += 1  # they are the receiver's own
        assert found.tolist() == [1, 2, 3, 4, 5]
        assert numbers[0] == 0


def test_the_end_in_the_middle_of_a_message_is_said(ends):
    ours, theirs = ends
    ours.socket.sendall(wire.encode(["x"], b"12345")[:-2])
    ours.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(Closed):
        theirs.receive()
