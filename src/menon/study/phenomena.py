"""What zero-RL does to the built-in base models, one arm per question, several seeds each, in one table.

    python -m menon.study.phenomena FOLDER [--jobs 2] [--seeds 0 1 2 3 4] [--steps 30] [--arms default kl ...]
    [--table FILE]

Runs are kept in FOLDER/ARM-SEED and resumed; the table is written again after each of them. An arm differs
from `default` (the recipe grpo on the task chain_sum) as its name says.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from menon.record import disk
from menon.study.seeds import mean_text
from menon.study.sweep import Arm, Cell, by_arm, cells_of, sweep

PENALTY = ("reference=frozen", "objective.kl.loss=kl", "objective.kl.share=token_mean")
ARMS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "kl": (*PENALTY, "objective.kl.coef=0.04"),
    "kl-strong": (*PENALTY, "objective.kl.coef=0.4"),
    "template-answer": ("template=q_a",),
    "template-steps": ("template=q_steps",),
    "rate-1e-5": ("learning_rate=1e-5",),
    "rate-1e-4": ("learning_rate=1e-4",),
    "rate-1e-3": ("learning_rate=1e-3",),
    "rate-3e-3": ("learning_rate=3e-3",),
    "search": ("model=search_base", "task=countdown"),
    "long-chain": ("model=search_base", "task=long_chain"),
}


def side(which: str, name: str) -> Callable[[Cell], float]:
    """A number of the run's report, before or after training."""
    return lambda cell: (cell.report or {})[which].get(name, math.nan)


def drift(name: str) -> Callable[[Cell], float]:
    """A number of the drift in the run's report."""
    return lambda cell: (cell.report or {}).get("drift", {}).get(name, math.nan)


def ends(name: str, place: int) -> Callable[[Cell], float]:
    """A metric of the first (0) or last (-1) step."""
    return lambda cell: cell.lines[place].get(name, math.nan)


def lowest(cell: Cell) -> float:
    """The lowest training accuracy after the first quarter of the steps; it shows how close a run came to
    collapse."""
    lines = cell.lines
    return min(float(line.get("acc/mean", math.nan)) for line in lines[len(lines) // 4 :])


COLUMNS: Mapping[str, tuple[Callable[[Cell], float], int]] = {
    "accuracy before": (side("before", "accuracy"), 3),
    "best temperature before": (side("before", "best_accuracy"), 3),
    "maj@8 before": (side("before", "maj_at_8"), 3),
    "accuracy after": (side("after", "accuracy"), 3),
    "lowest": (lowest, 3),
    "length before": (side("before", "mean_length"), 1),
    "length after": (side("after", "mean_length"), 1),
    "working before": (side("before", "working_share"), 2),
    "working after": (side("after", "working_share"), 2),
    "reflection before": (side("before", "reflection_share"), 2),
    "reflection after": (side("after", "reflection_share"), 2),
    "entropy first step": (ends("entropy/mean", 0), 3),
    "entropy last step": (ends("entropy/mean", -1), 3),
    "KL from start": (drift("sequence_kl"), 2),
    "first token's share": (drift("first_token_share"), 2),
}


def table(cells: Sequence[Cell]) -> str:
    """The table: one line per number, one column per arm."""
    found = [(arm, runs) for arm, runs in by_arm(cells) if runs]
    lines = ["| | " + " | ".join(arm.name for arm, _ in found) + " |", "|" + "---|" * (len(found) + 1)]
    lines.append("| seeds | " + " | ".join(str(len(runs)) for _, runs in found) + " |")
    for name, (read, digits) in COLUMNS.items():
        lines.append(
            f"| {name} | "
            + " | ".join(mean_text([read(run) for run in runs], digits) for _, runs in found)
            + " |"
        )
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Trains all arms and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args(words)
    cells = cells_of((Arm(name, ("grpo", *ARMS[name])) for name in asked.arms), asked.seeds, asked.folder)
    file = asked.table or asked.folder / "phenomena.md"

    def write() -> None:
        disk.write(file, table(cells).encode())

    sweep(cells, lambda cell: asked.steps, asked.jobs, lambda cell: write())
    write()
    print(table(cells))


if __name__ == "__main__":
    main()
