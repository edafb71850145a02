"""Trains every recipe on the built-in base with several seeds through the command, and writes one table.

    python benchmarks/presets.py FOLDER [--jobs 1] [--steps 12] [--more 40] [--seeds 0 1 2] [--recipes grpo
    ppo ...]

Runs are kept in FOLDER/RECIPE-SEED; what is finished is not run again, so the sweep can be stopped and
started. All recipes run with the first seed, then all with the second. A run that has not gained .2 goes on
to `--more` steps at the end.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from menon.recipes import ONLINE
from menon.study.sweep import Arm, Cell, by_arm, cells_of, sweep

TABLE = Path(__file__).parent / "results" / "presets.md"
ENOUGH = 0.2


def gain(cell: Cell) -> float:
    report = cell.report
    return report["after"]["accuracy"] - report["before"]["accuracy"] if report else float("-inf")


def row(recipe: str, cells: Sequence[Cell]) -> str:
    reports = [cell.report for cell in cells]
    shown = [f"{r['before']['accuracy']:.3f} -> {r['after']['accuracy']:.3f}" if r else "-" for r in reports]
    found = [report for report in reports if report]
    if not found:
        return f"| {recipe} | {' | '.join(shown)} | 0 | - | - | - | - | - |"
    before, after = (mean(r[when]["mean_length"] for r in found) for when in ("before", "after"))
    steps = " / ".join(sorted({str(r["steps"]) for r in found}, key=int))
    gained = mean(gain(cell) for cell in cells if cell.report)
    return (
        f"| {recipe} | {' | '.join(shown)} | {len(found)} | {steps} | {gained:+.3f} | {before:.1f} -> "
        f"{after:.1f} "
        f"| {mean(r['wall_s'] for r in found):.0f} | {mean(r['generated_tokens'] for r in found):,.0f} |"
    )


def table(cells: Sequence[Cell], seeds: Sequence[int]) -> str:
    lines = [
        f"| recipe | {' | '.join(f'seed {seed}' for seed in seeds)} | seeds | steps | mean gain | length "
        "| seconds | tokens |",
        "|" + "---|" * (len(seeds) + 7),
        *(
            row(name, [cell for cell in cells if cell.arm.name == name])
            for name in dict.fromkeys(c.arm.name for c in cells)
        ),
    ]
    run = {arm.name: found for arm, found in by_arm(cells)}
    reached = [name for name, found in run.items() if found and all(gain(cell) >= ENOUGH for cell in found)]
    short = [name for name, found in run.items() if found and name not in reached]
    missing = [name for name, found in run.items() if not found]
    last = (
        f"Up by at least .2 with every seed that was run: {', '.join(reached) or 'none'} "
        f"({len(reached)} of {len(run)})."
    )
    last += f" Not: {', '.join(short)}." if short else ""
    last += f" Not run: {', '.join(missing)}." if missing else ""
    return "\n".join([*lines, "", last]) + "\n"


HEAD = """# Every recipe on the built-in base

```sh
python benchmarks/presets.py FOLDER --steps 6 --more 12
```

Laptop scale, task `chain_sum`, `menon train RECIPE seed=SEED heldout=200 report_questions=0 threads=1`. Each
cell is the accuracy on 200 held-out questions, one answer each at temperature 1, before -> after. The column
of steps says how far the runs of a row went, and the column before it how many there are: one that has gained
.2 may stop early, one that has not goes on (`--steps`, `--more`). Seconds and generated tokens are means of
one run; seconds are those of a machine that had other work to do (2-core x86 CPU, one thread for each run).

"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--more", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(ONLINE))
    parser.add_argument("--table", type=Path, default=TABLE)
    asked = parser.parse_args()
    cells = cells_of(
        (Arm(name, (name, "heldout=200", "report_questions=0")) for name in asked.recipes),
        asked.seeds,
        asked.folder,
    )

    def write(cell: Cell) -> None:
        asked.table.write_text(HEAD + table(cells, asked.seeds), encoding="utf-8")

    sweep(cells, lambda cell: asked.steps, asked.jobs, write)
    sweep(cells, lambda cell: asked.steps if gain(cell) >= ENOUGH else asked.more, asked.jobs, write)


if __name__ == "__main__":
    main()
