"""A thread count that fits, settled before torch is imported."""

import pytest

from menon import threads
from menon.errors import UserError
from menon.threads import Threads, busy_cores, choose, prepare, quota


def machine(monkeypatch, cores: float, busy: float) -> None:
    monkeypatch.setattr(threads, "cores_here", lambda: cores)
    monkeypatch.setattr(threads, "busy_cores", lambda: busy)


@pytest.mark.parametrize(
    ("cores", "busy", "model", "count"),
    [
        (2, 0.0, "base", 2),
        (2, 0.2, "base", 2),
        (2, 0.5, "base", 2),
        (2, 0.5, "folder", 1),
        (2, 0.9, "base", 1),
        (2, 1.9, "base", 1),
        (2, 2.0, "base", 1),
        (0.5, 0.0, "base", 1),
        (1.5, 0.0, "base", 2),
        (1.5, 0.0, "folder", 1),
        (16, 0.1, "base", 4),
        (16, 0.1, "folder", 16),
        (16, 8.0, "folder", 8),
        (16, 14.0, "base", 2),
    ],
)
def test_what_is_free_is_used(monkeypatch, cores, busy, model, count):
    machine(monkeypatch, cores, busy)
    assert choose({"model": model}).count == count


def test_the_reason_is_said(monkeypatch):
    machine(monkeypatch, 2, 0.46)
    assert choose({"model": "folder"}) == Threads(1, "2 cores, 0.5 busy")
    machine(monkeypatch, 8, 0)
    assert choose({}) == Threads(4, "enough for a small model")


def test_the_user_decides(monkeypatch):
    machine(monkeypatch, 2, 0)
    monkeypatch.setattr(threads, "logical_cores", lambda: 7)
    assert choose({"threads": "7"}) == Threads(7, "as asked")
    assert choose({"threads": 3}).count == 3
    assert choose({"threads": None}).count == 2


def test_more_threads_than_cores_are_named(monkeypatch):
    monkeypatch.setattr(threads, "logical_cores", lambda: 2)
    assert choose({"threads": 2}) == Threads(2, "as asked")
    said = "as asked, and 2 cores here, so they wait for each other; leave threads out"
    assert choose({"threads": 64}) == Threads(64, said)
    monkeypatch.setattr(threads, "quota", lambda path: 1.5)
    assert choose({"threads": 2}).reason.startswith("as asked, and 1.5 cores here")


@pytest.mark.parametrize("asked", ["0", "-1", "1.5", "many", True, 0])
def test_no_thread_count(asked):
    with pytest.raises(UserError, match="whole number of at least 1"):
        choose({"threads": asked})


def test_the_environment():
    environment = {"OMP_NUM_THREADS": "64", "OMP_WAIT_POLICY": "ACTIVE"}
    prepare(Threads(2, ""), "cpu", environment)
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("2", "2")
    assert environment["OMP_WAIT_POLICY"] == "ACTIVE"  # the user's own word
    assert "CUBLAS_WORKSPACE_CONFIG" not in environment
    fresh: dict[str, str] = {}
    prepare(Threads(1, ""), "auto", fresh)
    assert (fresh["OMP_WAIT_POLICY"], fresh["CUBLAS_WORKSPACE_CONFIG"]) == ("PASSIVE", ":4096:8")


def test_a_containers_quota(tmp_path):
    file = tmp_path / "cpu.max"
    file.write_text("150000 100000\n")
    assert quota(file) == 1.5
    file.write_text("max 100000\n")
    assert quota(file) == float("inf")
    assert quota(tmp_path / "none") == float("inf")


def test_this_machine_has_cores():
    assert threads.cores_here() >= 0.01
    assert 0 <= busy_cores() <= 4096
