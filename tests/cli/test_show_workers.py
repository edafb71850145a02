"""`menon show RUN` and `menon runs` print what each worker of a run has to do, also of one that died."""

import json
import os
import time

import pytest

from menon.cli import main
from menon.record.folder import RunFolder

LINES = [
    {
        "name": "sampler 0",
        "pid": 31,
        "task": "write 34 answers",
        "heard_ago": 0.3,
        "progress_ago": 4.0,
        "ended_for": "",
    },
    {
        "name": "rank 1",
        "pid": 32,
        "task": "",
        "heard_ago": 120.0,
        "progress_ago": 7200.0,
        "ended_for": "it was stopped",
    },
]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def look(ago, workers=LINES):
    return json.dumps({"time": time.time() - ago, "controller": 30, "workers": workers})


def test_the_workers_of_a_running_run(tmp_path, capsys):
    run = tmp_path / "mine"
    with RunFolder.create(run, {"recipe": "grpo", "steps": 9}) as folder:
        folder.layout.workers.write_text(look(0))
        assert main(["show", str(run)]) == 0
        head, names, *rows = capsys.readouterr().out.splitlines()
        assert main(["show", str(run), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert main(["runs", str(tmp_path)]) == 0
        below = capsys.readouterr().out.splitlines()[-1]
        assert main(["runs", str(tmp_path), "--json"]) == 0
        (line,) = json.loads(capsys.readouterr().out)
    assert head.startswith(
        f"{run} runs, 0 steps are done. What each process has to do, as the controller (pid 30)"
    )
    assert names.split() == ["process", "pid", "heard", "progress", "has", "to"]
    assert rows[0].split("  ")[0] == "sampler 0"
    assert rows[0].endswith("31  0.3 s ago  4.0 s ago  write 34 answers")
    assert rows[1].endswith("32  2 min ago  2.0 h ago  wait for work (ended: it was stopped)")
    assert (found["state"], found["step"], found["heartbeat"]["workers"]) == ("running", 0, LINES)
    assert 0 <= found["heartbeat"]["looked_ago"] < 60
    assert below.startswith("mine, seen 0.")
    assert below.endswith(
        "s ago: sampler 0 has to write 34 answers; rank 1 has to wait for work (ended: it was stopped)"
    )
    assert line["heartbeat"]["workers"] == LINES


def test_the_workers_of_a_run_that_died(tmp_path, capsys):
    run = tmp_path / "mine"
    folder = RunFolder.create(run, {"recipe": "grpo", "steps": 9})
    folder.event("session_started", 0, process=os.getpid())
    folder.layout.workers.write_text(look(300))
    folder.__exit__(RuntimeError, RuntimeError("rank 1 is stopped"), None)
    assert main(["show", str(run)]) == 0
    head, why, names, first, _ = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{run} ended, 0 steps are done. What each process last had to do")
    assert head.endswith("saw it 5 min ago:")
    assert "rank 1 is stopped" in why
    assert names.split()[-2:] == ["had", "to"]
    assert first.endswith("0.3 s before  4.0 s before  write 34 answers")
    assert main(["runs", str(tmp_path)]) == 0
    assert "mine, seen 5 min ago: sampler 0 had to write 34 answers; " in capsys.readouterr().out


def test_a_damaged_heartbeat_file_and_one_of_a_finished_run_are_not_shown(tmp_path, capsys):
    run = tmp_path / "mine"
    with RunFolder.create(run, {}) as folder:
        folder.layout.workers.write_text(look(0, [{"name": "sampler"}]))
    assert main(["show", str(run)]) == 2
    assert "mine" in capsys.readouterr().err
    folder.layout.workers.write_text(look(0))
    folder.layout.report.write_text("{}")
    assert main(["show", str(run)]) == 2
    assert "pid" not in capsys.readouterr().out
