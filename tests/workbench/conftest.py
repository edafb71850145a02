"""Tiny runs that the tests of the workbench look at, each trained once."""

import json
import math
import shutil

import numpy as np
import pytest

from menon.python import train

SMALL = {"steps": 2, "prompts_per_step": 4, "samples_per_prompt": 4, "heldout": 8, "max_new_tokens": 12}


def trained(folder, name, recipe, **settings):
    """A run of two steps on one thread."""
    train(recipe, out=str(folder / name), seed=1, device="cpu", threads=1, **{**SMALL, **settings})


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with one run of two steps."""
    path = tmp_path_factory.mktemp("runs")
    trained(path, "one", "grpo")
    return path


@pytest.fixture(scope="session")
def seeded(folder, tmp_path_factory):
    """A folder with copies of a run as two methods of two seeds each, `slow-1`, `slow-2`, `fast-1` and
    `fast-2`, whose `STEPS` lines of metrics follow both laws of the forecast (`lines_of`)."""
    path = tmp_path_factory.mktemp("seeded")
    for seed in (1, 2):
        for name, middle, rate in (("slow", 30, 1e-4), ("fast", 10, 1e-3)):
            drawn(folder / "one", path / f"{name}-{seed}", seed, middle, rate)
    return path


STEPS = 40


def drawn(source, target, seed, middle, rate):
    """A copy of a run with another seed and learning rate, and drawn numbers."""
    shutil.copytree(source, target)
    about = json.loads((target / "run.json").read_text())
    about["seed"] = about["settings"]["control"]["seed"] = seed
    about["settings"]["control"]["steps"] = STEPS
    about["settings"]["models"]["policy"]["optimiser"]["learning_rate"] = rate
    (target / "run.json").write_text(json.dumps(about))
    first = json.loads((source / "metrics.jsonl").read_text().splitlines()[0])
    lines = lines_of(first, middle, np.random.default_rng([seed, middle]))
    (target / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    held = [
        {"step": step, "accuracy": value, "accuracy_low": value - 0.1, "accuracy_high": value + 0.1, "n": 8.0}
        for step, value in [(0, 0.1), *((line["step"], line["acc/mean"]) for line in lines[9::10])]
    ]
    (target / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in held))


def lines_of(first, middle, random):
    """Lines like `first`, one a step: after C steps the score is .1 + .7 / (1 + (middle / C)^2) and noise of
    .01, and the entropy H has score = .9 - .1 exp(H) without the noise."""
    lines = []
    for step in range(1, STEPS + 1):
        score = 0.1 + (0.7 / (1 + (middle / (step - 1)) ** 2) if step > 1 else 0)
        found = {"step": step, "acc/mean": score + random.normal(0, 0.01), "tokens/generated": 200.0}
        found |= {"entropy/mean": math.log((0.9 - score) / 0.1), "grad_norm": random.random()}
        lines.append(first | found | {"reward/mean": found["acc/mean"], "time/step": 0.5})
    return lines


@pytest.fixture(scope="session")
def answered(tmp_path_factory):
    """A folder with runs that recorded everything: `chain` (values where segments begin), `tree` and
    `calculator` (turns)."""
    path = tmp_path_factory.mktemp("answered")
    full = {"record": "full", "max_new_tokens": 48}
    trained(path, "chain", "spo_chain", **full)
    tree = {"branching": [4, 3], "segment_tokens": [8]}
    trained(path, "tree", "spo_tree", **full, samples_per_prompt=1, rollout=tree)
    trained(path, "calculator", "calculator", **full)
    return path
