"""Sides run in processes of their own, one awake at a time; what they print does not get between the
lines."""

import time
from pathlib import Path

import pytest

from menon.errors import UserError
from side_by_side import crew as crews
from side_by_side.crew import Crew, Process
from side_by_side.report import Setting, measure_with


@pytest.fixture
def crew(monkeypatch):
    """Workers come from this folder, as `benchmarks.echo_side`; the package of the channel stays within
    reach."""
    here = Path(__file__).parent
    monkeypatch.setattr(crews, "HERE", here)
    monkeypatch.setenv("PYTHONPATH", str(Path(crews.__file__).parents[1]))
    with Crew() as crew:
        yield crew


def stopped(pid):
    """Soon, for a signal takes a moment."""
    until = time.monotonic() + 5
    while (
        state := Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    ) != "T" and time.monotonic() < until:
        time.sleep(0.01)
    return state == "T"


def test_workers_are_shared_by_equal_processes_and_stopped_between_requests(crew):
    first, same, other = (Process("echo_side", {"word": word}) for word in ("a", "a", "b"))
    one, two, three = crew.ask(first), crew.ask(same), crew.ask(other)
    assert (one["word"], three["word"]) == ("a", "b")
    assert one["pid"] == two["pid"] != three["pid"]
    if Path("/proc").exists():
        assert stopped(one["pid"])
        assert stopped(three["pid"])
    crew.keep([other])
    assert not Path(f"/proc/{one['pid']}").exists()
    assert crew.ask(other)["pid"] == three["pid"]


def test_a_worker_that_has_ended_is_started_again(crew):
    """A setting that took too much memory must not end the turns of the same side's best setting."""
    side = Process("echo_side", {"word": "a"})
    first = crew.ask(side)
    with pytest.raises(UserError, match="has ended"):
        crew.ask(side, die=True)
    again = crew.ask(side)
    assert again["word"] == "a"
    assert again["pid"] != first["pid"]


def test_how_threads_wait_is_not_passed_on(crew, monkeypatch):
    """What suits one side may cost another half of its speed."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert crew.ask(Process("echo_side", {"word": "a"}))["waits"] is None
    assert (
        crew.ask(Process("echo_side", {"word": "a"}, environment={"OMP_WAIT_POLICY": "ACTIVE"}))["waits"]
        == "ACTIVE"
    )


def test_a_measure_gives_seconds(crew):
    assert measure_with(crew, seconds=1.5)(Setting("echo", Process("echo_side", {"word": "a"}))) == 1.5


def test_a_side_that_dies_is_told_with_its_log(crew):
    with pytest.raises(UserError, match=r"echo_side under .* has ended(.|\n)*more noise"):
        crew.ask(Process("echo_side", {"word": "a"}), die=True)


def test_a_missing_interpreter_is_told(crew):
    with pytest.raises(UserError, match=r"/nowhere/python cannot be started .*; name the interpreter itself"):
        crew.ask(Process("echo_side", {"word": "a"}, python="/nowhere/python"))
