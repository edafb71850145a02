"""Zero-RL on a real model: GRPO on sums, seed by seed, from the model's own first answers to its last.

    python scripts/real_model.py FOLDER [--seeds 3] [--steps 16] [--out runs/real_model]

FOLDER is a model of about 100 million parameters with a chat template, as of SmolLM2-135M-Instruct. Questions
are sums of two numbers of two digits; held-out ones are asked in no training. The program prints the command
of every run, what the model answered before and after, and a table. A run that is there already is read and
not repeated. Last line: `before=R after=R minutes=R`, means over the seeds, of accuracy at temperature 1 and
of the whole run from the command to its end.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import menon
from menon.record.layout import Layout
from menon.record.reader import RunView

TRAIN, HELD_OUT = 2000, 200
REWARD = """import re

def last_number(prompt, completion, answer, **columns):
    found = re.findall(r"\\d+", completion)
    return float(bool(found) and found[-1] == answer)
"""
"""A right answer ends with the sum: enough where the question asks for nothing but the number."""
SETTINGS: dict[str, Any] = {
    "template": "chat",
    "max_new_tokens": 16,
    "prompts_per_step": 16,
    "samples_per_prompt": 8,
    "learning_rate": 4e-5,
    "heldout": HELD_OUT,
    "report_questions": 0,
    "save_every": 0,
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("folder")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--steps", type=int, default=16)
    asked.add_argument("--out", type=Path, default=Path("runs/real_model"))
    given = asked.parse_args()
    files = sums(given.out)
    found = [run(given.folder, seed, given.steps, given.out, files) for seed in range(given.seeds)]
    print()
    for view in found:
        print("\n".join(examples(view)))
    print("\n".join(table(found)))
    means = {name: np.mean([shares(view)[name] for view in found]) for name in ("before", "after", "minutes")}
    print("\n" + " ".join(f"{name}={value:.3f}" for name, value in means.items()))


def sums(out: Path) -> dict[str, str]:
    """Settings that name files: the reward, sums to learn from, and held-out ones of other numbers."""
    numbers = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    random.Random(0).shuffle(numbers)
    parts = {"heldout_data": numbers[:HELD_OUT], "data": numbers[HELD_OUT : HELD_OUT + TRAIN]}
    out.mkdir(parents=True, exist_ok=True)
    for name, pairs in parts.items():
        rows = [
            {"question": f"Answer with the number only. What is {a} + {b}?", "answer": str(a + b)}
            for a, b in pairs
        ]
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (out / "reward.py").write_text(REWARD)
    named = {name: str(out / f"{name}.jsonl") for name in parts}
    return {"reward": f"{out / 'reward.py'}:last_number", **named}


def run(folder: str, seed: int, steps: int, out: Path, files: dict[str, str]) -> RunView:
    """The run of a seed, done if it is not there yet."""
    place = out / f"seed_{seed}"
    settings = {"model": folder, **files, **SETTINGS, "seed": seed, "steps": steps, "out": str(place)}
    print("menon train grpo " + " ".join(f"{name}={value}" for name, value in settings.items()), flush=True)
    if not Layout(place).report.exists():
        menon.train("grpo", **settings)
    return RunView.open(place)


def shares(view: RunView) -> dict[str, float]:
    """Accuracy before and after, and the minutes of the run."""
    report = view.report or {}
    before, after = (float(report[when]["accuracy"]) for when in ("before", "after"))
    return {"before": before, "after": after, "minutes": view.wall_s / 60}


def examples(view: RunView, count: int = 5) -> list[str]:
    """What the model answered to a few held-out questions before the first step and after the last."""
    steps = (view.answers.steps[0], view.answers.steps[-1])
    first, last = (view.answers.rows(step, ["prompt", "completion"]) for step in steps)
    lines = [f"{view.name}: sum, first answer, last answer"]
    for one, other in list(zip(first, last, strict=True))[:count]:
        asked = one["prompt"].partition("What is ")[2].partition("?")[0]
        lines.append(f"  {asked}: {one['completion'][:60]!r}, {other['completion'][:60]!r}")
    return lines


def table(views: Sequence[RunView]) -> list[str]:
    """Accuracy and time of every seed."""
    lines = ["", "| seed | before | after | minutes |", "|---|---|---|---|"]
    for seed, view in enumerate(views):
        one = shares(view)
        lines.append(f"| {seed} | {one['before']:.3f} | {one['after']:.3f} | {one['minutes']:.1f} |")
    return lines


if __name__ == "__main__":
    main()
