"""Prints the tables of benchmarks/results/judge.md about the recipe judge: how far the small judge agrees
with labels that it has not seen, and RL by its decisions, by its probabilities, and by rules.

python scripts/judge_table.py FOLDER [SEED ...]

FOLDER gets a pipeline and four runs for each seed; what is there already is only read.
"""

import json
import sys
from pathlib import Path
from typing import Any

from menon.pipeline.folder import PipelineView
from menon.pipeline.run import start
from menon.prompts.tasks.subjects import FORMS, Subjects, facts, row
from menon.python import train
from menon.record.reader import RunView
from menon.report.terminal import terminal

ROWS = {row(fact, form)["question"]: row(fact, form) for fact in facts() for form in FORMS}


def main(folder: Path, seeds: list[int]) -> None:
    print("| seed | kind | cases | agreement | kappa | calibration error |\n|---|---|---|---|---|---|")
    for seed in seeds:
        if not (folder / f"judge-{seed}" / "report.json").exists():
            given = {"seed": seed, "threads": 1, "report_questions": 0, "out": str(folder / f"judge-{seed}")}
            start("judge", [given], terminal)
        for kind, found in (
            PipelineView.open(folder / f"judge-{seed}").report["stages"]["agree"]["kinds"].items()
        ):
            numbers = (found[name] for name in ("agreement", "kappa", "calibration_error"))
            cells = ["-" if n is None else f"{n:.3f}" for n in numbers]
            print(f"| {seed} | {kind} | {found['cases']} | {' | '.join(cells)} |", flush=True)
    print("\n| reward | seed | before | after | judge's own, after |\n|---|---|---|---|---|")
    for name in ("verifier", "binary", "soft", "overlap"):
        for seed in seeds:
            view = learned(folder, name, seed)
            before, after = (accuracy(view, step) for step in (0, view.steps))
            own = (view.evaluation(view.steps) or {}).get("accuracy", float("nan"))
            print(f"| {name} | {seed} | {before:.3f} | {after:.3f} | {own:.3f} |", flush=True)


def right(prompt: str, completion: str, answer: str, synonyms: list[str]) -> float:
    """The task's own verdict."""
    return Subjects().grade(prompt, completion, answer, synonyms)


def learned(folder: Path, name: str, seed: int) -> RunView:
    """A run of eight steps from the policy that knows half of the facts. It is asked two forms of each
    question, and evaluated on the third."""
    out, made = folder / f"{name}-{seed}", folder / f"judge-{seed}"
    if not (out / "report.json").exists():
        judge = {
            "kind": "judge",
            "model": str(made / "5_judge" / "checkpoints" / "latest"),
            "prompt": str(made / "4_label" / "prompt.txt"),
        }
        rewards: dict[str, Any] = {
            "verifier": right,
            "binary": judge,
            "soft": {**judge, "soft": True, "renorm": True},
            "overlap": "overlap",
        }
        known = [fact for fact in facts() if fact.difficulty <= 2]
        files = {"data": FORMS[:2], "heldout_data": FORMS[2:]}
        for file, forms in files.items():
            lines = [json.dumps(row(fact, form)) + "\n" for fact in known for form in forms]
            (folder / f"{file}.jsonl").write_text("".join(lines))
        train(
            "grpo",
            model=str(made / "2_know" / "checkpoints" / "latest"),
            reward=rewards[name],
            out=str(out),
            seed=seed,
            **{file: str(folder / f"{file}.jsonl") for file in files},
            steps=8,
            learning_rate=3e-4,
            max_new_tokens=48,
            threads=1,
            report_questions=0,
        )
    return RunView.open(out)


def accuracy(view: RunView, step: int) -> float:
    """The share of an evaluation's answers that the task's own verifier accepts."""
    found = [
        right("", one["completion"], one["answer"], ROWS[one["prompt"]]["synonyms"])
        for one in view.answers.rows(step, ["prompt", "completion", "answer"])
    ]
    return sum(found) / len(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or [0, 1, 2])
