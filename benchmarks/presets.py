"""Trains every recipe on the built-in base with several seeds through the command, and writes one table.

    python benchmarks/presets.py FOLDER [--jobs 1] [--steps 12] [--more 40] [--seeds 0 1 2] [--recipes grpo ppo ...]

Runs are kept in FOLDER/RECIPE-SEED; what is finished is not run again, so the sweep can be stopped and started. All recipes
run with the first seed, then all with the second. A run that has not gained .2 goes on to `--more` steps at the end.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from menon.recipes import RECIPES

TABLE = Path(__file__).parent / "results" / "presets.md"
ENOUGH = 0.2
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Cell:
    """One recipe with one seed."""

    recipe: str
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f"{self.recipe}-{self.seed}"

    @property
    def report(self) -> dict[str, Any] | None:
        file = self.path / "report.json"
        return json.loads(file.read_text()) if file.exists() else None

    @property
    def gain(self) -> float:
        report = self.report
        return report["after"]["accuracy"] - report["before"]["accuracy"] if report else float("-inf")

    def train(self, steps: int) -> None:
        """To that many steps, from where the run is; what the command prints is in FOLDER/RECIPE-SEED.log."""
        report = self.report
        if report is not None and report["steps"] >= steps:
            return
        if (self.path / "run.json").exists():
            words = ["--resume", str(self.path), f"steps={steps}"]
        else:
            words = [self.recipe, f"seed={self.seed}", f"steps={steps}", "heldout=200", "threads=1", f"out={self.path}"]
        with open(f"{self.path}.log", "a") as log:
            command = [sys.executable, "-m", "menon", "train", *words]
            done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=log, stderr=log, check=False)
        print(f"{self.path.name}: {f'gain {self.gain:+.3f}' if done.returncode == 0 else 'failed, see its log'}", flush=True)


def row(recipe: str, cells: Sequence[Cell]) -> str:
    reports = [cell.report for cell in cells]
    shown = [f"{r['before']['accuracy']:.3f} -> {r['after']['accuracy']:.3f}" if r else "-" for r in reports]
    found = [report for report in reports if report]
    if not found:
        return f"| {recipe} | {' | '.join(shown)} | 0 | - | - | - | - | - |"
    before, after = (mean(r[when]["mean_length"] for r in found) for when in ("before", "after"))
    steps = " / ".join(sorted({str(r["steps"]) for r in found}, key=int))
    gain = mean(cell.gain for cell in cells if cell.report)
    return (
        f"| {recipe} | {' | '.join(shown)} | {len(found)} | {steps} | {gain:+.3f} | {before:.1f} -> {after:.1f} "
        f"| {mean(r['wall_s'] for r in found):.0f} | {mean(r['generated_tokens'] for r in found):,.0f} |"
    )


def table(cells: Sequence[Cell], recipes: Sequence[str], seeds: Sequence[int]) -> str:
    by_recipe = {name: [cell for cell in cells if cell.recipe == name] for name in recipes}
    lines = [
        f"| recipe | {' | '.join(f'seed {seed}' for seed in seeds)} | seeds | steps | mean gain | length | seconds | tokens |",
        "|" + "---|" * (len(seeds) + 7),
        *(row(name, found) for name, found in by_recipe.items()),
    ]
    run = {name: [cell for cell in found if cell.report] for name, found in by_recipe.items()}
    reached = [name for name, found in run.items() if found and all(cell.gain >= ENOUGH for cell in found)]
    short = [name for name, found in run.items() if found and name not in reached]
    missing = [name for name, found in run.items() if not found]
    last = f"Up by at least .2 with every seed that was run: {', '.join(reached) or 'none'} ({len(reached)} of {len(recipes)})."
    last += f" Not: {', '.join(short)}." if short else ""
    last += f" Not run: {', '.join(missing)}." if missing else ""
    return "\n".join([*lines, "", last]) + "\n"


HEAD = """# Every recipe on the built-in base

```sh
python benchmarks/presets.py FOLDER
```

Laptop scale, task `chain_sum`, `menon train RECIPE seed=SEED heldout=200 threads=1`. Each cell is the accuracy on 200 held-out
questions, one answer each at temperature 1, before -> after. The column of steps says how far the runs of a row went, and the
column before it how many there are: one that has gained .2 may stop early, one that has not goes on (`--steps`, `--more`).
Seconds and generated tokens are means of one run; seconds are those of a machine that had other work to do (2-core x86 CPU, one
thread for each run).

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--more", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--table", type=Path, default=TABLE)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    cells = [Cell(recipe, seed, asked.folder) for seed in asked.seeds for recipe in asked.recipes]

    def train(to: Callable[[Cell], int]) -> None:
        def one(cell: Cell) -> None:
            cell.train(to(cell))
            asked.table.write_text(HEAD + table(cells, asked.recipes, asked.seeds), encoding="utf-8")

        with ThreadPoolExecutor(asked.jobs) as pool:
            list(pool.map(one, cells))

    train(lambda cell: asked.steps)
    train(lambda cell: asked.steps if cell.gain >= ENOUGH else asked.more)


if __name__ == "__main__":
    main()
