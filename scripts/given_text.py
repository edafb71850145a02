"""SFT, DPO and a reward model on the built-in base: makes their data, runs them, and prints the tables.

    python scripts/given_text.py [out=runs/given_text] [seeds=0,1,2] [sft=20] [dpo=20] [reward_model=60]

A number after a recipe is its steps. The data is in the base's own format (docs/base.md): sums with every
line checked for SFT; for preferences a right and a wrong answer to each sum, both drawn from the habit of the
plain template. Held-out questions are those that no run of the task trains on. A run that is there already is
read and not repeated.
"""

import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import menon
from menon.base.corpus import HABITS, respond
from menon.engines.preference_model import load_preference_model
from menon.prompts.tasks.chain_sum import ChainSum, extract
from menon.record.layout import Layout
from menon.settings import override

TRAIN, HELD_OUT = 4000, 500
STEPS = {"sft": 20, "dpo": 20, "reward_model": 60}
ROWS_PER_STEP = 32
BINS = 10
Row = dict[str, str]


def main() -> None:
    asked = dict(map(override, sys.argv[1:]))
    out = Path(str(asked.get("out", "runs/given_text")))
    seeds = [int(seed) for seed in str(asked.get("seeds", "0,1,2")).split(",")]
    files = {
        (name, split): written(out / f"{name}_{split}.jsonl", split, n, make)
        for name, make in (("checked", checked), ("pairs", pair))
        for split, n in (("train", TRAIN), ("heldout", HELD_OUT))
    }
    reports = {
        recipe: [run(recipe, seed, steps, out, files) for seed in seeds]
        for recipe, default in STEPS.items()
        if (steps := int(asked.get(recipe, default)))
    }
    for recipe, found in reports.items():
        print(table(recipe, seeds, found))
    if "reward_model" in reports:
        print(calibration(out, seeds, files["pairs", "heldout"]))


# Data


def written(path: Path, split: str, n: int, make: Callable[[list[int], str, random.Random], Row]) -> Path:
    """One row for each of `n` questions of a split."""
    rng = random.Random(f"{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ChainSum().rows(split, n, seed=0)
    terms = [[int(term) for term in row["question"].removesuffix("=?").split("+")] for row in rows]
    made = [make(term, row["question"], rng) for term, row in zip(terms, rows, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def checked(terms: list[int], question: str, rng: random.Random) -> Row:
    """The sum worked to the end, every line checked, and right."""
    habit = replace(HABITS["plain"], give_up=(0.0, 0.0, 0.0), check=1.0)
    while True:
        answer = respond(terms, habit, rng)
        if extract(answer) == str(sum(terms)):
            return {"question": question, "completion": answer}


def pair(terms: list[int], question: str, rng: random.Random) -> Row:
    """A right and a wrong answer of the plain habit, whichever are drawn first."""
    found: dict[bool, str] = {}
    while len(found) < 2:
        answer = respond(terms, HABITS["plain"], rng)
        found.setdefault(extract(answer) == str(sum(terms)), answer)
    return {"prompt": question, "chosen": found[True], "rejected": found[False]}


# Runs


def run(
    recipe: str, seed: int, steps: int, out: Path, files: Mapping[tuple[str, str], Path]
) -> Mapping[str, Any]:
    """The report of a run, made now unless it is there."""
    folder = out / f"{recipe}-{seed}"
    done = Layout(folder).report
    if done.exists():
        report: Mapping[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return report
    data = "checked" if recipe == "sft" else "pairs"
    asks = {} if recipe == "reward_model" else {"task": "chain_sum", "source.heldout": HELD_OUT}
    return menon.train(
        recipe,
        seed=seed,
        steps=steps,
        out=str(folder),
        threads=1,
        report_questions=0,
        save_every=0,
        **{"rows.data": str(files[data, "train"]), "rows.heldout_data": str(files[data, "heldout"])},
        **{"rows.heldout": HELD_OUT, "rows.rows_per_step": ROWS_PER_STEP, **asks},
    )


# Tables


def table(recipe: str, seeds: Sequence[int], reports: Sequence[Mapping[str, Any]]) -> str:
    """What a recipe measured before and after, seed by seed."""
    shown = ("nll", "pairs/accuracy", "pairs/expected_accuracy", "pairs/margin", "accuracy", "mean_length")
    names = [name for name in shown if name in reports[0]["after"]]
    lines = [["seed", *(f"{name}, {when}" for name in names for when in ("before", "after"))]]
    for seed, report in zip(seeds, reports, strict=True):
        numbers = [report[when][name] for name in names for when in ("before", "after")]
        lines.append([str(seed), *(f"{number:.3f}" for number in numbers)])
    return f"\n{recipe}\n" + markdown(lines)


def calibration(out: Path, seeds: Sequence[int], pairs: Path) -> str:
    """Expected against observed preference of the held-out pairs, all seeds together, and the accuracy on
    pairs whose answers both work the sum to the end, which style does not tell apart."""
    rows = [json.loads(line) for line in pairs.read_text(encoding="utf-8").splitlines()]
    margins = np.array([margins_of(out / f"reward_model-{seed}", rows) for seed in seeds])
    expected, right = 1 / (1 + np.exp(-np.abs(margins))), margins > 0
    place = np.minimum((BINS * (2 * expected - 1)).astype(int), BINS - 1)
    lines = [["expected", "mean expected", "observed", "pairs"]]
    for index in range(BINS):
        here = place == index
        low = 0.5 + 0.5 * index / BINS
        numbers = [f"{expected[here].mean():.3f}", f"{right[here].mean():.3f}"] if here.any() else ["", ""]
        lines.append([f"{low:.2f} to {low + 0.5 / BINS:.2f}", *numbers, str(int(here.sum()))])
    worked = np.array([works(row["chosen"], row) and works(row["rejected"], row) for row in rows])
    shares = ", ".join(f"{share:.3f}" for share in right[:, worked].mean(1)) if worked.any() else "none"
    return f"\n{markdown(lines)}\n\n{int(worked.sum())} pairs of two worked answers, put right: {shares}"


def margins_of(run: Path, rows: Sequence[Row]) -> list[float]:
    """How far the preferred answers are ahead, by the exported classifier."""
    score = load_preference_model(str(Layout(run).latest))
    chosen, rejected = (score([row["prompt"] + row[name] for row in rows]) for name in ("chosen", "rejected"))
    return [one - other for one, other in zip(chosen, rejected, strict=True)]


def works(answer: str, row: Row) -> bool:
    """Whether an answer uses every term."""
    return answer.count("=") == row["prompt"].count("+")


def markdown(lines: Sequence[Sequence[str]]) -> str:
    rows = [lines[0], ["--"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
