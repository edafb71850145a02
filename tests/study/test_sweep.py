"""Sweeps: what is finished is not run again, and what is shown of the seeds."""

import json
import math
import sys
from pathlib import Path

import pytest

from menon.study import sweep
from menon.study.sweep import Arm, Cell, by_arm, cells_of, shown

ARMS = (Arm("a", ("grpo",)), Arm("b", ("grpo", "learning_rate=1e-4")))


def finish(cell: Cell, steps: int) -> None:
    cell.path.mkdir(parents=True, exist_ok=True)
    (cell.path / "run.json").write_text("{}")
    (cell.path / "report.json").write_text(json.dumps({"steps": steps}))


def test_all_arms_run_with_the_first_seed_before_any_with_the_second(tmp_path: Path) -> None:
    assert [(cell.arm.name, cell.seed) for cell in cells_of(ARMS, (3, 4), tmp_path)] == [("a", 3), ("b", 3), ("a", 4), ("b", 4)]


def test_what_is_finished_is_left_alone_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    class Done:
        returncode = 0

    def run(command: list[str], **_: object) -> Done:
        ran.append(command[4:])
        return Done()

    monkeypatch.setattr(sweep.subprocess, "run", run)
    cells = cells_of(ARMS, (0,), tmp_path)
    finish(cells[0], 5)
    heard: list[str] = []
    sweep.sweep(cells, lambda cell: 5, 1, lambda cell: heard.append(cell.arm.name))
    assert heard == ["a", "b"]
    assert ran == [["grpo", "learning_rate=1e-4", "seed=0", "steps=5", "threads=1", f"out={tmp_path / 'b-0'}"]]
    sweep.sweep(cells[:1], lambda cell: 9, 1, lambda cell: None)
    assert ran[1:] == [["--resume", str(tmp_path / "a-0"), "steps=9"]]
    # Stopped after eleven steps on the way to more, before its report.
    (cells[0].path / "metrics.jsonl").write_text("{}\n" * 11)
    sweep.sweep(cells[:1], lambda cell: 9, 1, lambda cell: None)
    assert ran[2:] == [["--resume", str(tmp_path / "a-0"), "steps=11"]]


def test_a_failed_command_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    sweep.sweep(cells_of(ARMS[:1], (0,), tmp_path), lambda cell: 1, 1, lambda cell: None)
    assert "a-0: failed" in capsys.readouterr().out


def test_arms_hold_their_finished_cells(tmp_path: Path) -> None:
    cells = cells_of(ARMS, (0, 1), tmp_path)
    finish(cells[3], 1)
    assert [(arm.name, [cell.seed for cell in found]) for arm, found in by_arm(cells)] == [("a", []), ("b", [1])]


def test_intervals_are_students() -> None:
    # mean .6, sd .1, three seeds: 4.303 * .1 / sqrt(3) = .248
    assert shown([0.5, 0.7, 0.6]) == "0.600 ± 0.248"
    assert shown([0.5]) == "0.500"
    assert shown([math.nan, 0.25], 2) == "0.25"
    assert shown([]) == "-"
