"""How the time of a training step of Menon grows with prompts, samples per prompt, answers and the model.

    python benchmarks/growth.py [--threads 1] [--repeats 3] [--model FOLDER]
        [--plot benchmarks/results/growth.svg] [--quick]

Each is changed alone, starting from 16 prompts a step, 8 samples of each, answers of 64 tokens (all of one
length, end-of-text tokens ignored), and a model of 0.8 M random weights. The step is that of
`step_vs_trl.py`: rollout, reward, advantage, one update, weights to the sampler. Each size: one step to warm
up, then the median of the next ones. All in float32 and in this process. FOLDER is a real model of about 135
million weights, which is then the largest of the models.

An exponent is the slope of log seconds over log size by least squares: 1 is linear, below 1 costs are shared.
Last line: `tokens_exponent=R`, over the tokens of a step as its answers grow longer, where attention would
show.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from statistics import median

import torch

from menon.errors import UserError
from menon.report.charts import TONES_IN_TURN, Axis, Chart, Line, Points, picture
from side_by_side import models
from side_by_side.menon_step_side import steps_of
from side_by_side.report import last_line, machine, row
from side_by_side.task import write_questions

CONTEXT = 1024
QUESTIONS = 320


@dataclass(frozen=True)
class Size:
    prompts: int = 16
    samples: int = 8
    length: int = 64
    """New tokens of every answer."""
    model: str = "0.8M"

    @property
    def tokens(self) -> int:
        """Tokens written in a step."""
        return self.prompts * self.samples * self.length


@dataclass(frozen=True)
class Cost:
    seconds: float
    rollout: float
    update: float
    parameters: int


def series(quick: bool, real: bool = False) -> dict[str, list[Size]]:
    """Name -> sizes that differ in nothing else; with `real` also a real model."""
    start = Size()
    found = {
        "prompts": [replace(start, prompts=n) for n in (4, 8, 16, 32, 64)],
        "samples": [replace(start, samples=n) for n in (2, 4, 8, 16, 32)],
        "length": [replace(start, length=n) for n in (16, 32, 64, 128, 256, 512)],
        "model": [replace(start, model=name) for name in ("0.8M", "4.8M", "25M")],
    }
    if quick:
        found = {name: sizes[:3] if name != "model" else sizes[:2] for name, sizes in found.items()}
    if real:
        found["model"].append(replace(start, model=models.REAL))
    return found


def cost(size: Size, folder: Path, repeats: int, real: str | None = None) -> Cost:
    path = folder / f"{size.model}-{CONTEXT}"
    if size.model == models.REAL:
        model = str(real)
    else:
        model = str(path) if path.exists() else models.random_model(size.model, folder, CONTEXT)
    questions = write_questions(models.questions(QUESTIONS), folder / "questions.jsonl")
    steps = steps_of(model, questions, "float32", size.samples, [size.length] * (size.prompts * size.samples))
    steps.seconds()
    taken = [
        (steps.seconds(), steps.metric("time/rollout"), steps.metric("time/update")) for _ in range(repeats)
    ]
    policy = steps.policy
    parameters = sum(weight.numel() for weight in policy.weights().values())
    seconds, rollout, update = (median(column) for column in zip(*taken, strict=True))
    return Cost(seconds, rollout, update, parameters)


def exponent(points: Points) -> float:
    """Slope of log y over log x by least squares."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (sum(column) / len(logs) for column in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def chart(lines: Mapping[str, Points], exponents: Mapping[str, float]) -> Chart:
    """Each series as ratios to its smallest size: times as large, times as long."""
    grown = tuple(
        Line(f"{name} {exponents[name]:.2f}", [(x / points[0][0], y / points[0][1]) for x, y in points], tone)
        for tone, (name, points) in zip(cycle(TONES_IN_TURN), lines.items(), strict=False)
    )
    up, across = Axis("times as long", log=True), Axis("times as large as the smallest", log=True)
    return Chart("time of a step, against what grows (exponent)", grown, up=up, across=across)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--repeats", type=int, default=3, help="steps that are measured at each size")
    asked.add_argument("--model", help=f"folder of a model for the size {models.REAL}")
    asked.add_argument("--plot", type=Path, help="where to write the picture (SVG)")
    asked.add_argument("--quick", action="store_true", help="the small sizes and 1 repeat: a look, no result")
    given = asked.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{machine()}, {given.threads} threads\n")
    print(
        row("", "size", "prompts x samples x tokens", "s a step", "rollout", "update", "tokens/s")
        + "\n"
        + row(*["---"] * 7)
    )
    costs: dict[Size, Cost] = {}
    lines: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="menon-bench-") as folder:
        for name, sizes in series(given.quick, bool(given.model)).items():
            lines[name] = []
            for size in sizes:
                if size not in costs:
                    costs[size] = cost(size, Path(folder), 1 if given.quick else given.repeats, given.model)
                own = costs[size]
                shape = f"{size.prompts} x {size.samples} x {size.length}"
                times = (f"{seconds:.2f}" for seconds in (own.seconds, own.rollout, own.update))
                print(
                    row(name, getattr(size, name), shape, *times, f"{size.tokens / own.seconds:,.0f}"),
                    flush=True,
                )
                lines[name].append((own.parameters if name == "model" else size.tokens, own.seconds))
    exponents = {name: exponent(points) for name, points in lines.items()}
    if given.plot is not None:
        given.plot.write_text(picture(chart(lines, exponents)), encoding="utf-8")
    print("\n" + last_line(**exponents) + "\n" + last_line(tokens_exponent=exponents["length"]))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
