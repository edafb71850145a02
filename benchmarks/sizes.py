"""The formulas of docs/sizes.md and of `menon explain` against runs on this machine.

    python benchmarks/sizes.py FOLDER [model=NAME_OR_FOLDER ...]

Each case is a run of three steps in a process of its own; FOLDER keeps it, and a case that is there is not
run again. Prints peak memory and seconds, measured and by formula, and their ratio. The formulas get the
FLOP/s and the bandwidth that this machine reaches now, on one thread, in place of a GPU's.
"""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from menon.record.layout import Layout

SETTINGS = {"steps": 3, "heldout": 2, "report_questions": 0, "save_every": 0, "threads": 1, "seed": 0}
SMALL = {"prompts_per_step": 4, "samples_per_prompt": 4, "max_new_tokens": 48, "slots": 16}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("base", {"prompts_per_step": 16}),
    "base, rank 8": ("base", {"prompts_per_step": 16, "adapter.rank": 8}),
    "25M": ("25M", {**SMALL, "tokens_per_forward": 1024}),
    "25M, rank 8": ("25M", {**SMALL, "tokens_per_forward": 1024, "adapter.rank": 8}),
    "135M": ("135M", {**SMALL, "tokens_per_forward": 512}),
    "135M, rank 8": ("135M", {**SMALL, "tokens_per_forward": 512, "adapter.rank": 8}),
    "135M, bfloat16": ("135M", {**SMALL, "tokens_per_forward": 512, "dtype": "bfloat16"}),
    "135M, rank 8, bfloat16": (
        "135M",
        {**SMALL, "tokens_per_forward": 512, "dtype": "bfloat16", "adapter.rank": 8},
    ),
}


def machine() -> tuple[float, float]:
    """FLOP/s of a product in float32 and bytes read a second, on one thread: the best of several."""
    import torch

    torch.set_num_threads(1)
    square, many = torch.randn(1024, 1024), torch.randn(2**26)
    best = [0.0, 0.0]
    for _ in range(5):
        for place, (work, task) in enumerate(
            ((2 * 1024**3, lambda: square @ square), (many.nbytes, lambda: many.sum()))
        ):
            begin = time.perf_counter()
            task()
            best[place] = max(best[place], work / (time.perf_counter() - begin))
    return best[0], best[1]


def model_of(name: str, folder: Path, given: dict[str, str]) -> str:
    if name == "25M":
        from side_by_side.models import random_model

        return random_model("25M", folder)
    return given.get(name, name)


def run(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The run's peak memory, as the system counts it for its process and those below it, and its last two
    steps."""
    result = out / "measured.json"
    if not result.exists():
        words = [f"{key}={value}" for key, value in settings.items()]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run(
            [sys.executable, "-m", "menon", "train", "grpo", *words, f"out={out}"],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert peak > before, "an earlier case took more; run each in a process of its own"
        steps = [json.loads(line) for line in Layout(out).metrics.read_text().splitlines()][-2:]
        keys = ("tokens/generated", "len/max", "time/rollout", "time/score", "time/update")
        means = {key: sum(step[key] for step in steps) / len(steps) for key in keys}
        result.write_text(json.dumps({"peak": peak * 1024, **means}))
    return json.loads(result.read_text())


def by_formula(
    settings: dict[str, Any], found: dict[str, Any], speed: tuple[float, float]
) -> dict[str, float]:
    from menon.assembly.derived import size_of_model, sizes
    from menon.assembly.memory import Needs, processes, together
    from menon.assembly.sizes import Gpu, Layout, Work, seconds
    from menon.cli.explain_gpus import shape_named
    from menon.config import changed
    from menon.recipes import recipe

    config = changed(recipe("grpo"), settings)
    shape, size = shape_named(settings["model"]), size_of_model(settings["model"])
    assert shape is not None
    assert size is not None
    answers = int(sizes(config).step.answers)
    work = Work(answers, 16, found["tokens/generated"] / answers, int(found["len/max"]), samples=8)
    adapter = config.models.policy.adapter
    layout = Layout(rank=0 if adapter is None else adapter.rank, recompute=False, slots=config.engine.slots)
    cpu = Gpu("this machine", 0, speed[0], speed[1], 1)
    needs = Needs.of(config)
    spent = seconds(shape, layout, replace(work), replace(cpu, memory=1e18))
    return {"peak": together(needs, processes(needs, size)), **spent}


def main() -> None:
    where, *words = sys.argv[1:]
    folder, given = Path(where), dict(word.split("=", 1) for word in words)
    folder.mkdir(parents=True, exist_ok=True)
    only = given.pop("case", None)
    speed = machine()
    print(f"{speed[0] / 1e9:,.0f} GFLOP/s, {speed[1] / 1e9:,.1f} GB/s on one thread")
    print("| case | peak GiB: measured, formula, ratio | write, s | score, s | learn, s |")
    print("| -- | -- | -- | -- | -- |")
    for name, (model, more) in CASES.items():
        if only not in (None, name):
            continue
        settings = {"model": model_of(model, folder, given), **SETTINGS, **more}
        found = run(folder / name.replace(", ", "_").replace(" ", ""), settings)
        formula = by_formula(settings, found, speed)
        cells = [three(found["peak"] / 2**30, formula["peak"] / 2**30)]
        for measured, part in (("rollout", "write"), ("score", "score"), ("update", "learn")):
            cells.append(three(found[f"time/{measured}"], formula[part]))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def three(measured: float, formula: float) -> str:
    return f"{measured:.2f}, {formula:.2f}, {measured / formula:.2f}"


if __name__ == "__main__":
    main()
