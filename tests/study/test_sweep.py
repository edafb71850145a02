"""Sweeps: what is finished is not run again, what fails is said, and a stop reaches every process."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from menon.study.sweep import Arm, Cell, Children, by_arm, cells_of, sweep

ARMS = (Arm("a", ("grpo",)), Arm("b", ("grpo", "learning_rate=1e-4", "threads=2")))


def finish(cell: Cell, steps: int) -> None:
    cell.path.mkdir(parents=True, exist_ok=True)
    (cell.path / "run.json").write_text("{}")
    (cell.path / "report.json").write_text(json.dumps({"steps": steps}))


@pytest.fixture
def commands(monkeypatch):
    """Every command, in place of running it; `codes` are their exit codes in turn, then 0."""
    ran: list[list[str]] = []
    codes: list[int] = []

    def run(self, command, log):
        ran.append(list(command[4:]))
        return codes.pop(0) if codes else 0

    monkeypatch.setattr(Children, "run", run)
    return ran, codes


def done(cells, steps=5):
    return {
        cell.path.name: what for cell, what in sweep(cells, lambda cell: steps, 1, lambda cell: None).items()
    }


def test_all_arms_run_with_the_first_seed_before_any_with_the_second(tmp_path):
    assert [(cell.arm.name, cell.seed) for cell in cells_of(ARMS, (3, 4), tmp_path)] == [
        ("a", 3),
        ("b", 3),
        ("a", 4),
        ("b", 4),
    ]


def test_what_is_finished_is_left_alone_and_the_rest_goes_on(tmp_path, commands):
    ran, _ = commands
    cells = cells_of(ARMS, (0,), tmp_path)
    finish(cells[0], 5)
    assert done(cells) == {"a-0": "done", "b-0": "stopped"}  # the command has written no report
    assert ran == [[*ARMS[1].words, "seed=0", "steps=5", f"out={tmp_path / 'b-0'}"]]
    done(cells[:1], 9)
    assert ran[1:] == [["--resume", str(tmp_path / "a-0"), "steps=9"]]
    # Stopped after eleven steps on the way to more, before its report.
    (cells[0].path / "metrics.jsonl").write_text("{}\n" * 11)
    done(cells[:1], 9)
    assert ran[2:] == [["--resume", str(tmp_path / "a-0"), "steps=11"]]


def test_an_arm_that_fails_before_its_first_step_is_not_tried_with_other_seeds(tmp_path, commands, capsys):
    ran, codes = commands
    cells = cells_of(ARMS, (0, 1), tmp_path)
    codes += [2, 0, 0]
    cells[0].log.write_text("a header\nmenon: there is no file x\n\n")
    assert done(cells) == {"a-0": "failed", "b-0": "stopped", "a-1": "skipped", "b-1": "stopped"}
    assert len(ran) == 3
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"a-0: failed (menon: there is no file x; all of it is in {tmp_path / 'a-0.log'})"
    assert said[2] == "a-1: skipped"


def test_a_run_that_learned_nothing_is_not_tried_again(tmp_path, commands):
    ran, codes = commands
    cells = cells_of(ARMS[:1], (0,), tmp_path)
    codes.append(3)
    assert done(cells) == {"a-0": "nothing learned"}
    cells[0].path.mkdir()
    (cells[0].path / "run.json").write_text("{}")
    event = {"time": 1.0, "step": 9, "kind": "session_ended", "why": "nothing learned", "error": "no signal"}
    (cells[0].path / "events.jsonl").write_text(json.dumps(event) + "\n")
    assert done(cells) == {"a-0": "nothing learned"}
    assert len(ran) == 1


def test_a_request_to_stop_reaches_every_process(tmp_path, monkeypatch, capsys):
    """Both processes hear it and end by themselves; the third is not started."""
    script = tmp_path / "waits"
    script.write_text(
        f"#!{sys.executable}\nimport signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    cells = cells_of((*ARMS, Arm("c", ())), (0,), tmp_path)

    def stop():
        while not all(cell.log.exists() and "ready" in cell.log.read_text() for cell in cells[:2]):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    found = sweep(cells, lambda cell: 1, 2, lambda cell: None)
    assert list(found.values()) == ["stopped"] * 3
    assert not cells[2].log.exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_arms_hold_their_finished_cells(tmp_path: Path) -> None:
    cells = cells_of(ARMS, (0, 1), tmp_path)
    finish(cells[3], 1)
    assert [(arm.name, [cell.seed for cell in found]) for arm, found in by_arm(cells)] == [
        ("a", []),
        ("b", [1]),
    ]
