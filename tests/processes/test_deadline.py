"""Calls that may hang."""

import threading
import time

import pytest

from menon.processes.deadline import Call, Late


def test_a_call_gives_its_value_or_raises_its_error():
    assert Call(divmod, 7, 2).result(5) == (3, 1)
    call = Call(divmod, 7, 0)
    with pytest.raises(ZeroDivisionError):
        call.result(5)
    with pytest.raises(SystemExit):
        Call(exit, 3).result(5)


def test_a_call_that_hangs_is_left_and_gives_its_room_to_the_next():
    release = threading.Event()
    room = threading.Semaphore(1)
    hangs, waits = Call(release.wait, room=room), None
    waits = Call(lambda: "ran", room=room)
    began = time.perf_counter()
    with pytest.raises(Late, match=r"took longer than 0.05 s"):
        hangs.result(0.05)
    assert waits.result(5) == "ran"
    assert time.perf_counter() - began < 3
    release.set()
    time.sleep(0.05)
    assert room.acquire(blocking=False)  # given back once for each call, the hanging one's not twice
    assert not room.acquire(blocking=False)


def test_time_that_is_spent_waiting_for_room_does_not_count():
    room = threading.Semaphore(1)
    calls = [Call(time.sleep, 0.1, room=room) for _ in range(4)]
    assert [call.result(0.3) for call in calls] == [None] * 4
