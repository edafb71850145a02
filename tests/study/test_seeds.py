"""Runs that differ in their seed: groups, paired differences, means with intervals, tables."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from menon.record.reader import RunView
from menon.study.comparison import arm_rows, arms_table, markdown, notes, run_rows, runs_table
from menon.study.seeds import Group, groups_of, half_width, mean_text, measure_of, paired, t_quantile


def fake_run(
    folder: Path,
    name: str,
    *,
    seed: int = 0,
    accuracy: tuple[float | None, float | None] = (0.1, 0.5),
    finished: bool = True,
    settings: Mapping[str, Any] | None = None,
    **numbers: float,
) -> RunView:
    """A run folder with two evaluations, two steps of 10 tokens, and 3 seconds."""
    path = folder / name
    path.mkdir(parents=True)
    control = {"seed": seed, "out": str(path), "steps": 2}
    whole = {"recipe": "grpo", "control": control, **(settings or {})}
    (path / "run.json").write_text(json.dumps({"format": 2, "settings": whole}))
    lines = [{"step": step, "tokens/generated": 10, "reward/mean": 0.3 * step} for step in (1, 2)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [
        {"step": step, "accuracy": value, "reward": None if value is None else 2 * value, **numbers}
        for step, value in zip((0, 2), accuracy, strict=True)
    ]
    (path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))
    (path / "sessions.json").write_text(json.dumps([{"first_step": 1, "last_step": 2, "wall_s": 3.0}]))
    if finished:
        (path / "report.json").write_text(json.dumps({"steps": 2}))
    return RunView(path)


@pytest.fixture
def groups(tmp_path):
    """Three seeds of one arm, of which one has not finished, and two of another."""
    base = [fake_run(tmp_path, f"a-{seed}", seed=seed, accuracy=(0.1, 0.5 + 0.1 * seed)) for seed in (0, 1)]
    base.append(fake_run(tmp_path, "a-2", seed=2, accuracy=(0.1, 0.9), finished=False))
    other = {"models": {"policy": {"optimiser": {"learning_rate": 1e-4}}}}
    mine = [
        fake_run(tmp_path, f"b-{seed}", seed=seed, accuracy=(0.1, value), settings=other)
        for seed, value in ((1, 0.8), (2, 0.2), (0, 0.6))
    ]
    return [Group("a", tuple(base)), Group("b", tuple(mine))]


def test_differences_are_of_the_same_seed(groups):
    assert measure_of(groups) == "accuracy"
    assert paired(groups[1], groups[0], "accuracy") == pytest.approx({1: 0.2, 0: 0.1})
    first, second = arm_rows(groups)
    assert (first["runs"], first["finished"], second["finished"]) == (3, 2, 3)
    assert first["accuracy_after"] == pytest.approx(0.55)
    # two values .1 apart: t(1) = 12.706, sd = .0707, half = 12.706 * .0707 / sqrt(2) = .6353
    assert first["accuracy_after_high"] - first["accuracy_after"] == pytest.approx(0.63531, abs=1e-5)
    assert second["difference"] == pytest.approx(0.15)
    assert second["difference_low"] == pytest.approx(0.15 - 0.63531, abs=1e-5)
    assert (second["pairs"], second["tokens"], second["seconds"]) == (2, 20, 3)
    assert second["reward_before"] == pytest.approx(0.2)
    assert [row["difference"] for row in run_rows(groups)] == pytest.approx(
        [None, None, None, 0.2, None, 0.1], nan_ok=True
    )


def test_tables_say_what_is_in_them(groups):
    assert arms_table(groups).head == (
        *("arm", "finished", "accuracy before", "accuracy after", "reward before", "reward after"),
        *("accuracy against a", "tokens", "seconds"),
    )
    assert arms_table(groups).rows[1][1:4] == ("3 of 3", "0.100 ± 0.000", "0.533 ± 0.759")
    assert arms_table(groups).rows[1][6] == "+0.150 ± 0.635 (2 seeds)"
    assert runs_table(groups).rows[2][:6] == ("a", "2", "stopped", "2/2", "0.100", "0.900 (step 2)")
    assert notes(groups) == ["a-2 has not finished; it is in no mean"]
    assert "| b | 1 | finished | 2/2 | 0.100 | 0.800 | 0.200 | 1.600 | +0.200 | 20 | 3.0 | - |" in markdown(
        groups
    )


def test_without_accuracy_arms_are_compared_by_reward(tmp_path):
    runs = [fake_run(tmp_path, str(n), accuracy=(None, None), seed=n) for n in range(2)]
    for run in runs:
        file = run.path / "evaluations.jsonl"
        file.write_text(file.read_text().replace('"reward": null', '"reward": 0.4'))
    groups = [Group("x", (runs[0],)), Group("y", (runs[1],))]
    assert measure_of(groups) == "reward"
    assert arms_table(groups).head[2:5] == ("reward before", "reward after", "reward against x")
    assert arms_table(groups).rows[1][4] == "-"  # no seed in common


def test_groups_are_found_by_settings(tmp_path):
    """Seeds, folders and threads make no group; other settings and other code of one's own do."""

    def run(name, seed, rate, code="1" * 64):
        settings = {
            "models": {"policy": {"optimiser": {"learning_rate": rate}}},
            "engine": {"threads": seed + 1},
            "own_code": {"my.py:Mine": code},
        }
        return fake_run(tmp_path, name, seed=seed, settings=settings)

    runs = [run("p", 1, 3e-4), run("q", 0, 1e-4), run("r", 0, 3e-4), run("s", 2, 3e-4, "2" * 64)]
    assert [(group.name, [view.name for view in group.runs]) for group in groups_of(runs)] == [
        ("grpo learning_rate=0.0003 my.py:Mine=11111111", ["r", "p"]),
        ("grpo learning_rate=0.0001 my.py:Mine=11111111", ["q"]),
        ("grpo learning_rate=0.0003 my.py:Mine=22222222", ["s"]),
    ]
    assert [(group.name, len(group.runs)) for group in groups_of([runs[0], runs[2]])] == [("grpo", 2)]
    mixed = [Group("arm", (runs[0], runs[3]))]
    assert notes(mixed) == [
        "the runs of arm differ in more than their seed: own_code.my.py:Mine; run them again with the same "
        "settings"
    ]


def test_intervals_are_students():
    # mean .6, sd .1, three seeds: 4.303 * .1 / sqrt(3) = .248
    assert mean_text([0.5, 0.7, 0.6]) == "0.600 ± 0.248"
    assert mean_text([0.5]) == "0.500"
    assert mean_text([math.nan, 0.25], 2) == "0.25"
    assert mean_text([]) == "-"


def test_quantiles_of_students_t():
    # Closed forms of one, two and four degrees of freedom (Shaw 2006), at 97.5 %.
    assert t_quantile(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-12)
    assert t_quantile(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)
    q = math.cos(math.acos(math.sqrt(0.0975)) / 3) / math.sqrt(0.0975)
    assert t_quantile(4) == pytest.approx(2 * math.sqrt(q - 1), rel=1e-12)
    # Printed tables, which give three digits.
    table = {3: 3.182, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}
    table |= {20: 2.086, 30: 2.042, 120: 1.980}
    assert {freedom: round(t_quantile(freedom), 3) for freedom in table} == table
    # It tends to the quantile of the normal distribution: z + (z^3 + z) / (4 v) + ... (Abramowitz and Stegun
    # 26.7.5).
    z = NormalDist().inv_cdf(0.975)
    assert t_quantile(100_000) == pytest.approx(z + (z**3 + z) / 400_000, abs=1e-9)


def test_the_interval_of_many_values_is_as_exact_as_that_of_few():
    # 0 to 20: standard deviation sqrt(38.5), 20 degrees of freedom, 21 values: 2.0859634 * 6.2048 / sqrt(21)
    assert half_width(range(21)) == pytest.approx(2.8244, abs=1e-4)
    assert half_width([1.0]) == math.inf
