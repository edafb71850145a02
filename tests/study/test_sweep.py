"""Sweeps: what is finished is not run again, and what is shown of the seeds."""

import json
import math
import sys
from pathlib import Path
from statistics import NormalDist

import pytest

from menon.study import sweep
from menon.study.sweep import Arm, Cell, by_arm, cells_of, half_width, mean_text, t_quantile

ARMS = (Arm("a", ("grpo",)), Arm("b", ("grpo", "learning_rate=1e-4")))


def finish(cell: Cell, steps: int) -> None:
    cell.path.mkdir(parents=True, exist_ok=True)
    (cell.path / "run.json").write_text("{}")
    (cell.path / "report.json").write_text(json.dumps({"steps": steps}))


def test_all_arms_run_with_the_first_seed_before_any_with_the_second(tmp_path: Path) -> None:
    assert [(cell.arm.name, cell.seed) for cell in cells_of(ARMS, (3, 4), tmp_path)] == [
        ("a", 3),
        ("b", 3),
        ("a", 4),
        ("b", 4),
    ]


def test_what_is_finished_is_left_alone_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert ran == [
        ["grpo", "learning_rate=1e-4", "seed=0", "steps=5", "threads=1", f"out={tmp_path / 'b-0'}"]
    ]
    sweep.sweep(cells[:1], lambda cell: 9, 1, lambda cell: None)
    assert ran[1:] == [["--resume", str(tmp_path / "a-0"), "steps=9"]]
    # Stopped after eleven steps on the way to more, before its report.
    (cells[0].path / "metrics.jsonl").write_text("{}\n" * 11)
    sweep.sweep(cells[:1], lambda cell: 9, 1, lambda cell: None)
    assert ran[2:] == [["--resume", str(tmp_path / "a-0"), "steps=11"]]


def test_a_failed_command_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    sweep.sweep(cells_of(ARMS[:1], (0,), tmp_path), lambda cell: 1, 1, lambda cell: None)
    assert "a-0: failed" in capsys.readouterr().out


def test_arms_hold_their_finished_cells(tmp_path: Path) -> None:
    cells = cells_of(ARMS, (0, 1), tmp_path)
    finish(cells[3], 1)
    assert [(arm.name, [cell.seed for cell in found]) for arm, found in by_arm(cells)] == [
        ("a", []),
        ("b", [1]),
    ]


def test_intervals_are_students() -> None:
    # mean .6, sd .1, three seeds: 4.303 * .1 / sqrt(3) = .248
    assert mean_text([0.5, 0.7, 0.6]) == "0.600 ± 0.248"
    assert mean_text([0.5]) == "0.500"
    assert mean_text([math.nan, 0.25], 2) == "0.25"
    assert mean_text([]) == "-"


def test_quantiles_of_students_t() -> None:
    # Closed forms of one, two and four degrees of freedom (Shaw 2006), at 97.5 %.
    assert t_quantile(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-12)
    assert t_quantile(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)
    q = math.cos(math.acos(math.sqrt(0.0975)) / 3) / math.sqrt(0.0975)
    assert t_quantile(4) == pytest.approx(2 * math.sqrt(q - 1), rel=1e-12)
    # Printed tables, which give three digits.
    table = {
        3: 3.182,
        5: 2.571,
        6: 2.447,
        7: 2.365,
        8: 2.306,
        9: 2.262,
        10: 2.228,
        20: 2.086,
        30: 2.042,
        120: 1.980,
    }
    assert {freedom: round(t_quantile(freedom), 3) for freedom in table} == table
    # It tends to the quantile of the normal distribution: z + (z^3 + z) / (4 v) + ... (Abramowitz and Stegun
    # 26.7.5).
    z = NormalDist().inv_cdf(0.975)
    assert t_quantile(100_000) == pytest.approx(z + (z**3 + z) / 400_000, abs=1e-9)


def test_the_interval_of_many_values_is_as_exact_as_that_of_few() -> None:
    # 0 to 20: standard deviation sqrt(38.5), 20 degrees of freedom, 21 values: 2.0859634 * 6.2048 / sqrt(21)
    assert half_width(range(21)) == pytest.approx(2.8244, abs=1e-4)
    assert half_width([1.0]) == math.inf
