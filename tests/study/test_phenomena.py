"""The table of the phenomena, from run folders."""

import json
from pathlib import Path

import pytest

from menon.cli.command import asked_by
from menon.config import changed
from menon.prompts.template import find_template
from menon.recipes import recipe
from menon.study import phenomena


def finished(path: Path, accuracy: float) -> None:
    path.mkdir(parents=True)
    side = {"accuracy": accuracy, "mean_length": 20.0, "best_accuracy": 0.4}
    drift = {"sequence_kl": 3.0, "first_token_share": 0.1}
    (path / "report.json").write_text(json.dumps({"steps": 8, "before": side, "after": side, "drift": drift}))
    lines = [{"entropy/mean": 0.2 - 0.01 * step, "acc/mean": abs(4 - step) / 8} for step in range(8)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_line_per_number_and_a_column_per_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arm in ("default", "kl"):
        for seed in (0, 1):
            finished(tmp_path / f"{arm}-{seed}", 0.5 + 0.1 * seed)
    phenomena.main([str(tmp_path), "--steps", "8", "--seeds", "0", "1", "--arms", "default", "kl"])
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "phenomena.md").read_text().splitlines()]
    by_name = {row[0]: row[1:] for row in rows}
    assert rows[0] == ["default", "kl"]
    assert by_name["seeds"] == ["2", "2"]
    # mean .55, sd .0707, two seeds: 12.706 * .0707 / sqrt(2) = .635
    assert by_name["accuracy after"] == ["0.550 ± 0.635"] * 2
    assert by_name["entropy last step"] == ["0.130 ± 0.000"] * 2
    assert by_name["maj@8 before"] == ["-", "-"]
    assert by_name["lowest"] == ["0.000 ± 0.000"] * 2


def test_every_arm_is_a_run_that_differs_from_the_default() -> None:
    runs = {
        name: changed(recipe("grpo"), *asked_by(["grpo", *words]).changes)
        for name, words in phenomena.ARMS.items()
    }
    assert all(run != runs["default"] for name, run in runs.items() if name != "default")
    assert len({repr(run) for run in runs.values()}) == len(runs)
    assert {
        find_template(runs[name].source.template).text for name in ("template-answer", "template-steps")
    } == {
        "Q: {q}\nA:",
        "{q}\nSteps:",
    }
