"""Compares ways to bound the ratio where they can differ: with many updates a step, and a clip fraction of at
least 2 %.

    python benchmarks/clip.py FOLDER [--jobs 1] [--steps 3] [--seeds 0 1 2] [--rate 3e-4] [--updates 32]

Below that fraction clips hardly act, so arms that differ only in their clip give the same result. The table
says for every arm whether the fraction was reached; nothing is claimed where it was not. Resumable, like
every sweep.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from menon.study.seeds import mean_text
from menon.study.sweep import Arm, Cell, by_arm, cells_of, sweep

TABLE = Path(__file__).parent / "results" / "clip.md"
ENOUGH = 0.02
LOSS = "objective.policy.loss"
ARMS: dict[str, tuple[str, ...]] = {
    "clip .2": (f"{LOSS}=ppo_clip",),
    "clip .2/.28": (f"{LOSS}=ppo_clip", f"{LOSS}.clip_high=.28"),
    "dual clip 3": (f"{LOSS}=dual_clip",),
    "cispo": (f"{LOSS}=cispo",),
    "gspo": (f"{LOSS}=gspo", "objective.policy.share=sequence_mean"),
    "sapo": (f"{LOSS}=sapo", "objective.policy.share=sequence_mean_token_mean"),
}
"""All else equal: groups compared as in `grpo`, the token mean where the loss has no share of its own."""


def arms(rate: float, updates: int) -> list[Arm]:
    size = (
        "prompts_per_step=16",
        "samples_per_prompt=8",
        f"updates_per_step={updates}",
        f"learning_rate={rate:g}",
    )
    size += ("heldout=500", "report_questions=0")
    return [
        Arm(name.replace(" ", "_").replace("/", "-"), ("grpo", *size, *words)) for name, words in ARMS.items()
    ]


def fraction(cell: Cell) -> float:
    """The mean over the steps; NaN for a loss without a clip (`sapo`, whose gate only narrows)."""
    found = [line["clip/frac"] for line in cell.lines if "clip/frac" in line]
    return mean(found) if found else float("nan")


def last(cell: Cell, name: str, steps: int = 1) -> float:
    return mean(line[name] for line in cell.lines[-steps:])


def row(name: str, cells: Sequence[Cell]) -> str:
    reports = [report for cell in cells if (report := cell.report)]
    highest = [max(line.get("ratio/max", float("nan")) for line in cell.lines) for cell in cells]
    if not reports:
        return f"| {name} | 0 | - | - | - | - | - | - |"
    parts = [
        mean_text([report["after"]["accuracy"] for report in reports]),
        mean_text([mean(line["acc/mean"] for line in cell.lines) for cell in cells]),
        mean_text([fraction(cell) for cell in cells], 4),
        mean_text([last(cell, "entropy/mean") for cell in cells]),
        mean_text(highest, 1),
        "yes" if all(fraction(cell) >= ENOUGH for cell in cells) else "no",
    ]
    return f"| {name} | {len(reports)} | {' | '.join(parts)} |"


HEAD = """# Clips compared

```sh
python benchmarks/clip.py FOLDER --steps {steps} --seeds {seeds} --rate {rate:g} --updates {updates}
```

The built-in base on `chain_sum`, 16 prompts x 8 answers, {updates} updates a step, learning rate {rate:g},
{steps} steps, 2-core x86 CPU, one thread. Mean over seeds and half the width of its 95 % interval (Student's
t). Held-out: 500 questions, one answer each at temperature 1, after the last step; training: the mean over
all steps; entropy: that of the last step, in nats. The last column says whether every seed clipped at least
2 % of its tokens (`gspo`: answers): where it says no, the clip hardly acted, and nothing follows from that
row. `sapo` has no bound that could be counted.

| arm | seeds | held-out | training | clip fraction | entropy at the end | largest ratio | 2 % reached |
|---|---|---|---|---|---|---|---|
"""


def table(cells: Sequence[Cell], asked: argparse.Namespace) -> str:
    names = dict(zip((arm.name for arm in arms(asked.rate, asked.updates)), ARMS, strict=True))
    head = HEAD.format(
        steps=asked.steps, seeds=" ".join(map(str, asked.seeds)), rate=asked.rate, updates=asked.updates
    )
    return head + "".join(row(names[arm.name], found) + "\n" for arm, found in by_arm(cells))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--updates", type=int, default=32)
    parser.add_argument("--table", type=Path, default=TABLE)
    asked = parser.parse_args()
    cells = cells_of(arms(asked.rate, asked.updates), asked.seeds, asked.folder)

    def write(cell: Cell) -> None:
        asked.table.write_text(table(cells, asked), encoding="utf-8")

    sweep(cells, lambda cell: asked.steps, asked.jobs, write)


if __name__ == "__main__":
    main()
