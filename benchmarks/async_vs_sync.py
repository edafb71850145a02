"""Asynchronous against synchronous training, in two real processes: throughput, accuracy, lengths.

    python benchmarks/async_vs_sync.py [--steps 16] [--repeats 3] [--accuracy-steps 0] [--staleness 1]

Both sides train the built-in base on sums with GRPO, with a sampler in a process of its own and one thread on
each side (`samplers=1 threads=1`). Answers are long-tailed: their mean is a third of the longest. With
`source.staleness=0` the two processes take turns; with 1 they work at the same time. The sides alternate,
and the median of the ratios of neighbours is reported, because the machine may be busy with other things.
Loading, the first step and the steps in which the queue fills are not counted.

The simulator is given what the synchronous runs measured (how long decoding steps and updates take, fitted to
the steps) and the lengths of their answers, and says what the asynchronous side should do. With
`--accuracy-steps N` both sides also train N steps, and their accuracy on held-out questions is compared.

Last line: `speedup=R`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import menon
from menon.record.asynchrony import asynchrony
from menon.record.reader import RunView
from menon.simulate.run import Cluster, Work, simulate
from menon.simulate.samplers import Speed

PROMPTS, SAMPLES = 16, 8
SETTINGS: dict[str, Any] = {
    "prompts_per_step": PROMPTS,
    "samples_per_prompt": SAMPLES,
    "updates_per_step": 1,
    "objective.policy.correction": [{"kind": "importance"}],
    "report_questions": 0,
    "samplers": 1,
    "threads": 1,
    "save_every": 0,
    "evaluate_every": 0,
    "stop_without_signal": False,
}


@dataclass(frozen=True)
class Side:
    """One run."""

    view: RunView
    seconds: float
    """Of a step, on average over those that are counted."""
    per_token: float
    """Seconds for each token of an answer that was learned from."""


def run(folder: Path, steps: int, staleness: int, seed: int, heldout: int = 1) -> RunView:
    menon.train(
        "grpo", out=str(folder), steps=steps, staleness=staleness, seed=seed, heldout=heldout, **SETTINGS
    )
    return RunView.open(folder)


def timed(view: RunView, first: int) -> Side:
    """Seconds between the publications after step `first` and after the last one."""
    at = {event["step"]: event["time"] for event in view.events if event["kind"] == "published"}
    last = max(at)
    tokens = sum(sum(lengths_in(view, step)) for step in range(first + 1, last + 1))
    return Side(view, (at[last] - at[first]) / (last - first), (at[last] - at[first]) / tokens)


def lengths_in(view: RunView, step: int) -> list[int]:
    return [sum(row["is_action"]) for row in view.transcripts.rows(step, ["is_action"])]


def fitted(views: Sequence[RunView], staleness: int) -> float:
    """The speedup that the simulator expects of what the synchronous runs measured."""
    writing, learning, between, prompts = [], [], [], []
    for view in views:
        for line in view.metrics[1:]:
            rows = view.transcripts.rows(line["step"], ["is_action"])
            lengths = [sum(row["is_action"]) for row in rows]
            prompts.append(np.mean([len(row["is_action"]) - sum(row["is_action"]) for row in rows]))
            tokens = sum(len(row["is_action"]) for row in rows)
            writing.append((max(lengths), sum(lengths), line["time/rollout"]))
            learned = sum(line[f"time/{name}"] for name in ("score", "advantage", "update", "report"))
            learning.append((1, tokens, learned))
            between.append(line["time/step"] - learned - line["time/rollout"])
    step, each = least_squares(writing)
    update, token = least_squares(learning)
    speed = Speed(step, each, 0.0, 256)
    cluster = Cluster(1, speed, update, token, float(np.mean(between)))
    print(
        f"\nfitted to the synchronous runs: a decoding step {1000 * step:.2f} ms + {1e6 * each:.0f} us for "
        f"each answer; an update {update:.2f} s + {1e6 * token:.0f} us a token; {np.mean(between):.2f} s "
        "between steps"
    )
    written = {step: lengths_in(views[0], step) for step in views[0].transcripts.steps}

    def length(prompt: int, visit: int, sample: int) -> int:
        """The lengths of the first synchronous run, step by step."""
        cohort = written[prompt // PROMPTS % len(written) + 1]
        return cohort[(prompt % PROMPTS) * SAMPLES + sample]

    work = Work(PROMPTS, SAMPLES, round(float(np.mean(prompts))), length, len(written))
    apart, beside = (simulate(cluster, work, bound) for bound in (0, staleness))
    print(
        f"simulated: {apart.step:.2f} s a step in turns, {beside.step:.2f} s beside each other; sampler idle "
        f"{apart.sampler_idle:.0%} and {beside.sampler_idle:.0%}"
    )
    return beside.tokens / apart.tokens


def least_squares(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """The two coefficients, at least 0, that fit the third number of the rows to the others best."""
    table = np.asarray(rows, dtype=np.float64)
    inputs, target = table[:, :2], table[:, 2]
    both, *_ = np.linalg.lstsq(inputs, target, rcond=None)
    if both.min() >= 0:
        return float(both[0]), float(both[1])
    alone = [float(inputs[:, i] @ target / (inputs[:, i] @ inputs[:, i])) for i in (0, 1)]
    errors = [float(((inputs[:, i] * alone[i] - target) ** 2).sum()) for i in (0, 1)]
    return (alone[0], 0.0) if errors[0] < errors[1] else (0.0, alone[1])


def throughput(root: Path, steps: int, repeats: int, staleness: int) -> float:
    pairs: list[tuple[Side, Side]] = []
    for repeat in range(repeats):
        sides: dict[int, Side] = {}
        for bound in (0, staleness) if repeat % 2 == 0 else (staleness, 0):
            view = run(root / f"speed-{repeat}-{bound}", steps, bound, repeat)
            sides[bound] = timed(view, max(1, staleness))
        pairs.append((sides[0], sides[staleness]))
        apart, beside = pairs[-1]
        print(
            f"pair {repeat + 1}: {apart.seconds:.2f} s a step in turns, {beside.seconds:.2f} s beside each "
            f"other; seconds a token {apart.per_token:.2e} and {beside.per_token:.2e}: "
            f"{apart.per_token / beside.per_token:.2f}x",
            flush=True,
        )
    speedup = median(apart.per_token / beside.per_token for apart, beside in pairs)
    expected = fitted([apart.view for apart, _ in pairs], staleness)
    print(f"simulated speedup {expected:.2f}, measured {speedup:.2f}: {speedup / expected - 1:+.0%}")
    of = asynchrony(pairs[0][1].view)
    print(f"lengths: {of['lengths']}\ngroups: {of['groups']}\nstaleness: {of['staleness']}")
    return speedup


def accuracy(root: Path, steps: int, seeds: int, staleness: int) -> None:
    for bound in (0, staleness):
        found = [run(root / f"long-{bound}-{seed}", steps, bound, seed, 300).report for seed in range(seeds)]
        ends: list[Mapping[str, Any]] = [report["after"] for report in found if report is not None]
        shown = ", ".join(
            f"{end['accuracy']:.3f} ({end['accuracy_low']:.2f} to {end['accuracy_high']:.2f})" for end in ends
        )
        print(f"staleness {bound}: accuracy after {steps} steps, by seed: {shown}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--staleness", type=int, default=1)
    parser.add_argument("--accuracy-steps", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", help="a folder for the runs; without it they are removed")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(asked.keep or temporary)
        if asked.accuracy_steps:
            accuracy(root, asked.accuracy_steps, asked.seeds, asked.staleness)
        speedup = throughput(root, asked.steps, asked.repeats, asked.staleness)
    print(f"speedup={speedup:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
