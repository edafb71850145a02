"""Prints the tables of benchmarks/results/judge.md about the recipe judge: how far the small judge agrees
with labels that it has not seen, and RL by its decisions and by its probabilities.

python scripts/judge_table.py FOLDER [SEED ...]

FOLDER gets a pipeline and three runs for each seed; what is there already is only read.
"""

import sys
from pathlib import Path
from typing import Any

from menon.pipeline.folder import PipelineView
from menon.pipeline.run import start
from menon.prompts.tasks import ChainSum
from menon.python import train
from menon.record.layout import Layout
from menon.record.reader import RunView
from menon.report.terminal import terminal

STEPS = 6


def main(folder: Path, seeds: list[int]) -> None:
    print("| seed | kind | cases | agreement | kappa | calibration error |\n|---|---|---|---|---|---|")
    for seed in seeds:
        made = folder / f"judge-{seed}"
        if not Layout(made).report.exists():
            start("judge", [{**shared(seed), "out": str(made)}], terminal)
        for kind, found in PipelineView.open(made).report["stages"]["agree"]["kinds"].items():
            numbers = (found[name] for name in ("agreement", "kappa", "calibration_error"))
            cells = " | ".join("-" if n is None else f"{n:.3f}" for n in numbers)
            print(f"| {seed} | {kind} | {found['cases']} | {cells} |", flush=True)
    print("\n| reward | seed | before | after | by the reward itself |\n|---|---|---|---|---|")
    for name in ("verifier", "binary", "soft"):
        for seed in seeds:
            view = learned(folder, name, seed)
            before, after = (accuracy(view, step) for step in (0, STEPS))
            own = (view.evaluation(STEPS) or {})["accuracy"]
            print(f"| {name} | {seed} | {before:.3f} | {after:.3f} | {own:.3f} |", flush=True)


def shared(seed: int) -> dict[str, Any]:
    return {"seed": seed, "threads": 1, "report_questions": 0}


def learned(folder: Path, name: str, seed: int) -> RunView:
    """A run of GRPO from the built-in base."""
    out, made = folder / f"{name}-{seed}", folder / f"judge-{seed}"
    if not Layout(out).report.exists():
        judge = {
            "kind": "judge",
            "model": str(Layout(made / "3_judge").latest),
            "prompt": str(made / "2_label" / "prompt.txt"),
        }
        soft = {"soft": True, "renorm": True} if name == "soft" else {}
        reward: dict[str, Any] = {} if name == "verifier" else {"reward": judge | soft}
        train("grpo", task="chain_sum", steps=STEPS, out=str(out), **shared(seed), **reward)
    return RunView.open(out)


def accuracy(view: RunView, step: int) -> float:
    """The share of an evaluation's answers that the task's own verifier accepts."""
    rows = view.answers.rows(step, ["prompt", "completion", "answer"])
    return sum(ChainSum().grade(one["prompt"], one["completion"], one["answer"]) for one in rows) / len(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or [0, 1, 2])
