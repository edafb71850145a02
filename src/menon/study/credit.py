"""Does credit for segments help? SPO-chain, SPO-tree, VinePPO, GRPO with and without a mask, and PPO at equal
budgets.

    python -m menon.study.credit FOLDER [--tokens 300000] [--seconds 600] [--seeds 0 1 2 3 4]
                                        [--arms grpo spo_tree ...] [--words task=long_chain ...] [--every 5]

Each arm is trained with each seed until it has written `tokens` (those of its values included) and spent
`seconds` in steps. The held-out accuracy at both budgets is interpolated linearly between the run's own
evaluations. A finished run is one line of FOLDER/runs.jsonl and is not run again; an interrupted one is
resumed. FOLDER/table.md is written after every run, and printed at the end. Intervals are by Student's t over
seeds; differences between arms are taken seed by seed.
"""

import argparse
import json
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import mean
from typing import Any

from menon.record import disk
from menon.study.seeds import half_width
from menon.study.sweep import Arm, Cell, Children, cells_of

UNMASKED = (
    "objective.policy.select=null",
    "objective.policy.share=token_mean",
    "advantage.credit.below=1",
    "advantage.whiten.below=1",
)
TREE = ("segment_tokens=24",)
"""A third of the working of a chain of 12 steps."""
ARMS: dict[str, tuple[str, ...]] = {
    "grpo": ("grpo",),
    "grpo_masked": ("grpo_masked",),
    "ppo": ("ppo",),
    "vineppo": ("vineppo",),
    "spo_chain": ("spo_chain",),
    "spo_chain-2": ("spo_chain", "interval=2"),
    "spo_chain-100": ("spo_chain", "interval=100"),
    "spo_chain-unmasked": ("spo_chain", *UNMASKED),
    "spo_tree": ("spo_tree", *TREE),
    "spo_tree-8-8": ("spo_tree", *TREE, "branching=8-8"),
    "spo_tree-2-4-8": ("spo_tree", *TREE, "branching=2-4-8"),
    "spo_tree-unmasked": ("spo_tree", *TREE, *UNMASKED),
}
"""Name -> words of `menon train`. Trees have 64 leaves each."""
WORDS = ("task=long_chain", "max_new_tokens=96", "report_questions=0")
Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Arm -> seed -> the run's line."""


@dataclass(frozen=True)
class Budget:
    """The budget of every run: tokens, seconds, and steps between evaluations."""

    tokens: float
    seconds: float
    every: int
    """Steps between evaluations."""


def spent(cell: Cell) -> tuple[list[float], list[float]]:
    """[steps + 1] tokens and seconds up to and with each finished step, 0 before the first."""
    lines = cell.lines[
        : (cell.report or {"steps": 0})["steps"]
    ]  # an interrupted run has lines after its last report
    tokens, seconds = ([float(line[name]) for line in lines] for name in ("tokens/generated", "time/step"))
    return [0.0, *accumulate(tokens)], [0.0, *accumulate(seconds)]


def train(cell: Cell, budget: Budget) -> dict[str, Any] | None:
    """Trains a cell and returns its line; None if the command failed. The number of steps is predicted from
    the steps so far."""
    steps = budget.every
    children = Children()
    while cell.train(steps, children) == "done":
        tokens, seconds = spent(cell)
        if tokens[-1] >= budget.tokens and seconds[-1] >= budget.seconds:
            return line_of(cell, tokens, seconds, budget)
        done = len(tokens) - 1
        share = min(tokens[-1] / budget.tokens, seconds[-1] / budget.seconds)
        steps = done + max(budget.every, min(3 * done, int(done * (1.05 / share - 1)) + 1))
    return None


def line_of(cell: Cell, tokens: Sequence[float], seconds: Sequence[float], budget: Budget) -> dict[str, Any]:
    """The line of a finished run in runs.jsonl."""
    found = cell.view.evaluations
    steps, accuracy = [e["step"] for e in found], [e["accuracy"] for e in found]
    late = cell.lines[-max(1, len(cell.lines) // 4) :]
    return {
        "arm": cell.arm.name,
        "seed": cell.seed,
        "words": list(cell.arm.words),
        "steps": len(tokens) - 1,
        "tokens": tokens[-1],
        "seconds": seconds[-1],
        "before": accuracy[0],
        "at_tokens": between([tokens[step] for step in steps], accuracy, budget.tokens),
        "at_seconds": between([seconds[step] for step in steps], accuracy, budget.seconds),
        "length_correct": mean(float(line["len/correct"]) for line in late),
    }


def between(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """y at x by linear interpolation; xs are increasing."""
    place = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    (x0, x1), (y0, y1) = xs[place - 1 : place + 1], ys[place - 1 : place + 1]
    return y0 + (y1 - y0) * min(max((x - x0) / (x1 - x0), 0), 1)


# Intervals


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and its 95 % interval, which is infinite for a single value."""
    if not values:
        return math.nan, -math.inf, math.inf
    middle, half = mean(values), half_width(values)
    return middle, middle - half, middle + half


def differences(
    runs: Runs, arm: Callable[[Mapping[str, Mapping[str, Any]]], float], needs: Sequence[str]
) -> list[float]:
    """One number for each seed that all needed arms have."""
    seeds = [
        seed for seed in sorted(runs.get(needs[0], {})) if all(seed in runs.get(name, {}) for name in needs)
    ]
    return [arm({name: runs[name][seed] for name in needs}) for seed in seeds]


@dataclass(frozen=True)
class Claim:
    """A difference that the paper claims to be positive."""

    name: str
    says: str
    needs: tuple[str, ...]
    by: Callable[[Mapping[str, Mapping[str, Any]]], float]


CLAIMS = (
    Claim(
        "S7",
        "SPO-chain above GRPO, equal tokens",
        ("spo_chain", "grpo"),
        lambda r: r["spo_chain"]["at_tokens"] - r["grpo"]["at_tokens"],
    ),
    Claim(
        "S8",
        "SPO-tree above GRPO, equal time",
        ("spo_tree", "grpo"),
        lambda r: r["spo_tree"]["at_seconds"] - r["grpo"]["at_seconds"],
    ),
    Claim(
        "S9",
        "right answers of SPO-tree shorter than GRPO's (tokens)",
        ("spo_tree", "grpo"),
        lambda r: r["grpo"]["length_correct"] - r["spo_tree"]["length_correct"],
    ),
    Claim(
        "S10",
        "intervals 2 and 5 above 100",
        ("spo_chain", "spo_chain-2", "spo_chain-100"),
        lambda r: (
            (r["spo_chain"]["at_tokens"] + r["spo_chain-2"]["at_tokens"]) / 2
            - r["spo_chain-100"]["at_tokens"]
        ),
    ),
    Claim(
        "S11",
        "SPO-chain above itself without the mask",
        ("spo_chain", "spo_chain-unmasked"),
        lambda r: r["spo_chain"]["at_tokens"] - r["spo_chain-unmasked"]["at_tokens"],
    ),
    Claim(
        "S12",
        "GRPO with the mask above GRPO",
        ("grpo_masked", "grpo"),
        lambda r: r["grpo_masked"]["at_tokens"] - r["grpo"]["at_tokens"],
    ),
)


def verdict(low: float, high: float) -> str:
    """Whether an interval of the difference reproduces a claim."""
    return "reproduced" if low > 0 else "not reproduced" if high < 0 else "undecided"


def table(runs: Runs) -> Iterator[str]:
    """Lines of Markdown: every arm, its difference to GRPO, and the claims."""
    yield (
        "| arm | seeds | at equal tokens | against grpo | at equal time | against grpo "
        "| right answers, tokens |"
    )
    yield "|---|---|---|---|---|---|---|"
    for arm, of_seed in runs.items():
        cells = [arm, str(len(of_seed))]
        for name in ("at_tokens", "at_seconds"):
            cells.append(interval_text(*interval([line[name] for line in of_seed.values()])))
            against = differences(runs, lambda r, n=name, a=arm: r[a][n] - r["grpo"][n], (arm, "grpo"))  # type: ignore[misc]
            cells.append("-" if arm == "grpo" else interval_text(*interval(against), sign="+"))
        cells.append(f"{mean(line['length_correct'] for line in of_seed.values()):.1f}")
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| claim | | difference | |"
    yield "|---|---|---|---|"
    for claim in CLAIMS:
        found = interval(differences(runs, claim.by, claim.needs))
        yield f"| {claim.name} | {claim.says} | {interval_text(*found, sign='+')} | {verdict(*found[1:])} |"


def interval_text(middle: float, low: float, high: float, sign: str = "") -> str:
    """A mean with its interval, as a cell of the table."""
    if math.isnan(middle):
        return "-"
    return f"{middle:{sign}.3f}" + (f" ({low:{sign}.3f} to {high:{sign}.3f})" if math.isfinite(low) else "")


# Running


def stored(file: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The lines of the runs that are finished, by arm and seed."""
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        line = json.loads(text)
        runs.setdefault(line["arm"], {})[line["seed"]] = line
    return runs


def compare_arms(cells: Sequence[Cell], budget: Budget, folder: Path) -> None:
    """Trains every cell that has no line yet, one after the other."""
    file = folder / "runs.jsonl"
    for cell in cells:
        if cell.seed in stored(file).get(cell.arm.name, {}):
            continue
        line = train(cell, budget)
        if line is None:
            print(f"{cell.path.name} failed, see its log", flush=True)
            continue
        disk.append(file, disk.json_line(line))
        disk.write(folder / "table.md", ("\n".join(table(stored(file))) + "\n").encode())
        print(
            f"{cell.path.name}: {line['at_tokens']:.3f} at equal tokens, {line['at_seconds']:.3f} at "
            "equal time",
            flush=True,
        )


def main() -> None:
    """Trains all arms, then writes and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=float, default=300_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--words", nargs="*", default=list(WORDS))
    parser.add_argument("--every", type=int, default=5)
    asked = parser.parse_args()
    shared = (*asked.words, f"evaluate_every={asked.every}")
    cells = cells_of((Arm(name, (*ARMS[name], *shared)) for name in asked.arms), asked.seeds, asked.folder)
    compare_arms(cells, Budget(asked.tokens, asked.seconds, asked.every), asked.folder)
    print("\n".join(table(stored(asked.folder / "runs.jsonl"))))


if __name__ == "__main__":
    main()
