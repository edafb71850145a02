"""Events: each thing that happened is there once, whatever was undone and done again."""

import json

import pytest

from menon.errors import UserError
from menon.loop import loop
from menon.record.events import Events
from menon.record.reader import RunView
from tiny_run import Watching, opened, tiny_run


def drive(path, stop_after=None, **run):
    watch = Watching()
    with opened(path) as folder:
        loop(tiny_run(**run), folder, watch, lambda: len(watch.steps) == stop_after)


def told(events):
    """Kind and step of each."""
    return [(event["kind"], event["step"]) for event in events]


def test_a_whole_run_and_its_resume(tmp_path):
    drive(tmp_path / "run", stop_after=1)
    first = RunView(tmp_path / "run").events
    assert told(first) == [
        ("session_started", 0),
        ("evaluated", 0),
        ("published", 1),
        ("saved", 1),
        ("stop_requested", 1),
        ("session_ended", 1),
    ]
    assert first[-1]["why"] == "stopped"
    drive(tmp_path / "run")
    view = RunView(tmp_path / "run")
    later = view.events[len(first) :]
    assert view.events[: len(first)] == first
    assert [row for row in told(later) if row[0] != "best"] == [
        ("restored", 1),
        ("session_started", 1),
        ("published", 2),
        ("saved", 2),
        ("evaluated", 2),
        ("published", 3),
        ("saved", 3),
        ("published", 4),
        ("saved", 4),
        ("evaluated", 4),
        ("session_ended", 4),
    ]
    assert later[-1]["why"] == "finished"
    published = [event for event in view.events if event["kind"] == "published"]
    assert [event["version"] for event in published] == [1, 2, 3, 4]
    assert [event["fingerprint"] for event in published] == [line["fingerprint"] for line in view.metrics]
    restored = later[0]
    assert (restored["version"], restored["fingerprint"]) == (1, published[0]["fingerprint"])
    accuracy = {event["step"]: event["accuracy"] for event in view.events if event["kind"] == "evaluated"}
    assert accuracy == {line["step"]: line["accuracy"] for line in view.evaluations}
    assert [event["best"] for event in view.events if event["kind"] == "best"][-1] == view.best()
    times = [event["time"] for event in view.events]
    assert times == sorted(times)


def test_what_was_undone_is_counted_once(tmp_path):
    """The checkpoint of step 2 is the last one; the lines of steps 3 and 4 come again."""
    path = tmp_path / "run"
    drive(path, stop_after=2, save_every=2)

    def fails(report):
        if report.step == 4:
            raise KeyError("a fault")

    with pytest.raises(KeyError), opened(path) as folder:
        loop(tiny_run(save_every=0), folder, Watching(fails))
    assert RunView(path).events[-1]["error"] == "'a fault'"
    with open(path / "events.jsonl", "a") as file:
        file.write('{"time": 1, "step": 9, "ki')
    drive(path)
    view = RunView(path)
    published = [event["step"] for event in view.events if event["kind"] == "published"]
    assert published == [1, 2, 3, 4]
    undone = [event for event in view.all_events if event.get("undone")]
    assert told(undone) == [("published", 3), ("published", 4), ("session_ended", 4)]
    assert [event["session"] for event in view.all_events if event["kind"] == "session_started"] == [1, 2, 3]


def test_a_line_and_its_mark(tmp_path):
    events = Events(tmp_path / "events.jsonl")
    events.write("waited", 3, seconds=float("nan"), what="a queue of groups")
    events.write("saved", 4, seconds=0.5)
    events.rewind(3)
    first, second = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    assert first | {"time": 0} == {
        "time": 0,
        "step": 3,
        "kind": "waited",
        "seconds": None,
        "what": "a queue of groups",
    }
    assert (second["undone"], "undone" in first) == (True, False)
    with pytest.raises(ValueError, match="no event of kind 'slept'"):
        events.write("slept", 1)


def test_an_error_before_the_session_leaves_no_event(tmp_path):
    with pytest.raises(UserError), opened(tmp_path):
        raise UserError("no model")
    assert RunView(tmp_path).events == []
