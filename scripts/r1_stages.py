"""The small R1, seed by seed: runs the pipeline and prints what the model can do after each of its stages.

    python scripts/r1_stages.py [out=runs/r1] [seeds=0,1,2] [STAGE.key=value ...]

Every stage is measured with the same 200 sums and 100 remarks, one answer each at temperature 1. A pipeline
that is there already is gone on with, or only read. The lines below the table are for one machine with
nothing else to do; elsewhere the minutes say little.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from menon.pipeline.run import resume, start
from menon.record.layout import PIPELINE
from menon.report.terminal import terminal
from menon.settings import override

MEASURED = ("cold_start", "reason", "sft", "rules", "general", "distill")
LAST = "general"
"""The last stage of the policy; the student is another model."""
NAMES = {
    "start": "the base",
    "cold_start": "cold start",
    "reason": "RL on sums",
    "sft": "the base again, on filtered answers",
    "rules": "RL on both, by rules",
    "general": "RL on both, with the reward model",
    "student": "a smaller student",
    "distill": "the student, taught",
}


@dataclass(frozen=True)
class Measured:
    """What a model answered to the held-out questions."""

    sums: float
    """Share of the sums that are right, in the format."""
    remarks: float
    """Share of the remarks that got a good reply."""
    english: float
    """Mean share of English words in the answers to sums."""
    both: float
    """Share of all questions."""
    tokens: float
    """Mean length of the answers to sums."""
    right: Mapping[str, float]
    """Question -> 1 for a right or good answer, else 0."""


def main() -> None:
    asked = dict(map(override, sys.argv[1:]))
    out = Path(str(asked.pop("out", "runs/r1")))
    seeds = [int(seed) for seed in str(asked.pop("seeds", "0,1,2")).split(",")]
    found = []
    for seed in seeds:
        began = time.perf_counter()
        report = made(out / f"seed_{seed}", seed, asked)
        found.append(measured(out / f"seed_{seed}"))
        minutes = (time.perf_counter() - began) / 60
        print(f"seed {seed}: {minutes:.1f} minutes, pairs put right {pairs_right(report):.3f}", flush=True)
    for line in [*table(found), "", *gains(seeds, found)]:
        print(line)


def made(folder: Path, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The report of the pipeline in the folder, which is run as far as it is not."""
    if (folder / PIPELINE).exists():
        return resume(folder, {}, terminal)
    return start("r1", [{**settings, "seed": seed, "out": str(folder)}], terminal)


def measured(folder: Path) -> dict[str, Measured]:
    """Every model on the way, by its name, in the order of the stages; without those of skipped ones."""
    found: dict[str, Measured] = {}
    for name in MEASURED:
        files = sorted(folder.glob(f"*_{name}/evaluations/*.parquet"))
        if not files:
            continue
        if name in ("cold_start", "distill"):
            found["start" if name == "cold_start" else "student"] = of(files[0])
        found[name] = of(files[-1])
    return found


def of(file: Path) -> Measured:
    rows = pyarrow.parquet.read_table(file, columns=["acc", "parts", "tokens", "prompt"]).to_pylist()
    sums = [row for row in rows if "answer" in dict(row["parts"])]
    remarks = [row for row in rows if "reply" in dict(row["parts"])]
    lengths = [len(row["tokens"]) - len(row["prompt"].encode()) for row in sums]
    return Measured(
        sums=mean([row["acc"] for row in sums]),
        remarks=mean([row["acc"] for row in remarks]),
        english=mean([dict(row["parts"])["language"] for row in sums]),
        both=mean([row["acc"] for row in rows]),
        tokens=mean(lengths),
        right={row["prompt"]: float(row["acc"]) for row in rows},
    )


def mean(numbers: Sequence[float]) -> float:
    return float(np.mean(numbers))


def pairs_right(report: Mapping[str, Any]) -> float:
    return float(report["stages"]["preference"]["after"]["pairs/accuracy"])


def table(found: Sequence[Mapping[str, Measured]]) -> list[str]:
    """One line for each model: all seeds' shares of sums, remarks and both, and the means of the others."""
    head = ("after", "sums", "remarks", "both", "English", "tokens")
    lines = [f"| {' | '.join(head)} |", f"|{' -- |' * len(head)}"]
    for name, words in NAMES.items():
        here = [one[name] for one in found if name in one]
        if not here:
            continue
        shares = [
            ", ".join(f"{getattr(one, part):.3f}" for one in here) for part in ("sums", "remarks", "both")
        ]
        means = [f"{mean([one.english for one in here]):.3f}", f"{mean([one.tokens for one in here]):.1f}"]
        lines.append(f"| {' | '.join((words, *shares, *means))} |")
    return lines


def gains(seeds: Sequence[int], found: Sequence[Mapping[str, Measured]]) -> list[str]:
    """For each seed, how far the last model of the policy is above each one before it on the same questions,
    with the half width of a 95 % interval."""
    earlier = MEASURED[: MEASURED.index(LAST)]
    head = (f"{LAST} less", *(f"seed {seed}" for seed in seeds))
    lines = [f"| {' | '.join(head)} |", f"|{' -- |' * len(head)}"]
    for name in earlier:
        cells = (gain(one[LAST].right, one[name].right) for one in found)
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def gain(last: Mapping[str, float], before: Mapping[str, float]) -> str:
    """The mean difference over the questions, paired."""
    apart = np.array([last[question] - before[question] for question in last])
    return f"{apart.mean():+.3f} ± {1.96 * apart.std(ddof=1) / len(apart) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
