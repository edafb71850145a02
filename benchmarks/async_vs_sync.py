"""Asynchronous against synchronous training, in real processes: throughput, accuracy, lengths.

    python benchmarks/async_vs_sync.py [--steps 20] [--repeats 3] [--staleness 1] [--seed 0]

Both sides train the built-in base on sums with GRPO, each with a sampler in a process of its own and one
thread (`samplers=1 threads=1`). Answers are long-tailed: half have at most 14 tokens, one in a hundred has 65
and more. With `source.staleness=0` learner and sampler take turns; with 1 they work at the same time. The two
runs take turns step by step, so that a busy machine slows both down alike; between its steps a run does
nothing. The first steps, in which the queue fills, are not counted. The speedup is the ratio of the medians
of seconds a token over all steps of all repeats, which have other seeds.

The simulator is given what the synchronous steps measured (how long decoding steps and updates take, fitted
to all steps) and the lengths of their answers, and says what the asynchronous side should do.

Last line: `speedup=R`.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch

from menon.assembly.build import build
from menon.config import changed
from menon.loop import Run
from menon.recipes import recipe
from menon.record.asynchrony import favour
from menon.record.clock import Clock
from menon.record.metrics import summary
from menon.simulate.run import Cluster, Work, simulate
from menon.simulate.samplers import Speed
from menon.step import improve

PROMPTS, SAMPLES, HELDOUT = 16, 8, 200
SETTINGS: dict[str, Any] = {
    "prompts_per_step": PROMPTS,
    "samples_per_prompt": SAMPLES,
    "updates_per_step": 1,
    "objective.policy.correction": [{"kind": "importance"}],
    "heldout": HELDOUT,
    "report_questions": 0,
    "samplers": 1,
    "threads": 1,
}


@dataclass(frozen=True)
class Step:
    seconds: float
    wrote: float
    """Seconds in which the main thread waited for text, or wrote it."""
    learned: float
    """Seconds of scoring, credit and update."""
    lengths: Sequence[int]
    """Tokens of each answer, in the order of the prompts."""
    prompt_tokens: int


@dataclass
class Side:
    """One run, driven step by step."""

    run: Run
    state: Any
    steps: list[Step] = field(default_factory=list)
    written: dict[int, Sequence[int]] = field(default_factory=dict)
    oldest: int = 0
    accuracy: float = 0.0

    def step(self, number: int) -> None:
        start, clock = time.perf_counter(), Clock()
        gathered = self.run.source.next()
        ready = time.perf_counter()
        report, self.state = improve(number, gathered, self.run.plan, self.run.host, self.state, clock)
        learned = time.perf_counter()
        self.run.source.learned(report)
        self.run.source.published(self.run.channel.publish(number).version)
        end = time.perf_counter()
        rollouts = [graded.rollout for graded in gathered.graded]
        lengths = [one.num_actions for one in rollouts]
        prompts = sum(len(one.prompt.tokens) for one in rollouts)
        self.steps.append(Step(end - start, ready - start, learned - ready, lengths, prompts))
        self.written[number] = gathered.wrote.get("lengths", lengths)
        self.oldest = max(self.oldest, number - 1 - gathered.oldest_version)

    def per_token(self, first: int) -> list[float]:
        """Seconds for each token that was learned from, by step."""
        return [one.seconds / sum(one.lengths) for one in self.steps[first:]]


def pair(steps: int, staleness: int, seed: int) -> tuple[Side, Side]:
    """Both sides, driven in turn for so many steps."""
    with ExitStack() as undo:
        sides = []
        for bound in (0, staleness):
            config = changed(recipe("grpo"), SETTINGS, {"steps": steps, "staleness": bound, "seed": seed})
            run = undo.enter_context(build(config))
            sides.append(Side(run, run.plan.initial_state()))
        for number in range(1, steps + 1):
            for side in sides if number % 2 else reversed(sides):
                side.step(number)
        for side in sides:
            assert side.run.evaluate is not None
            side.accuracy = summary(side.run.evaluate())["accuracy"]
    return sides[0], sides[1]


def expected(apart: Sequence[Side], staleness: int) -> float:
    """The speedup that the simulator expects from what the synchronous steps measured."""
    steps = [step for side in apart for step in side.steps[1:]]
    step, each = least_squares([(max(one.lengths), sum(one.lengths), one.wrote) for one in steps])
    update, token = least_squares([(1, sum(one.lengths) + one.prompt_tokens, one.learned) for one in steps])
    between = median(one.seconds - one.wrote - one.learned for one in steps)
    print(
        f"fitted: a decoding step {1000 * step:.2f} ms + {1e6 * each:.0f} us an answer; an update "
        f"{1000 * update:.0f} ms + {1e6 * token:.0f} us a token; {1000 * between:.0f} ms between steps"
    )
    answers = PROMPTS * SAMPLES

    def length(prompt: int, visit: int, sample: int) -> int:
        number, place = divmod(prompt * SAMPLES + sample, answers)
        return steps[number % len(steps)].lengths[place]

    prompt_tokens = round(sum(one.prompt_tokens for one in steps) / len(steps) / answers)
    work = Work(PROMPTS, SAMPLES, prompt_tokens, length, len(steps))
    cluster = Cluster(1, Speed(step, each, 0.0, 256), update, token, between)
    turns, beside = (simulate(cluster, work, bound) for bound in (0, staleness))
    for name, found in (("in turns", turns), ("beside", beside)):
        print(
            f"simulated {name}: {found.step:.2f} s a step, sampler idle {found.sampler_idle:.0%}, learner "
            f"idle {found.learner_idle:.0%}"
        )
    return beside.tokens / turns.tokens


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


def said(apart: Sequence[Side], beside: Sequence[Side]) -> None:
    """Accuracy and lengths."""
    for name, sides in (("in turns", apart), ("beside", beside)):
        found = [side.accuracy for side in sides]
        error = (np.mean(found) * (1 - np.mean(found)) / (HELDOUT * len(found))) ** 0.5
        shown = ", ".join(f"{one:.3f}" for one in found)
        mean = f"mean {np.mean(found):.3f} +- {error:.3f}"
        print(f"accuracy on {HELDOUT} held-out questions, {name}: {shown}; {mean}")
    written: dict[int, Sequence[int]] = {}
    trained: dict[int, Sequence[int]] = {}
    for place, side in enumerate(beside):
        for number, lengths in side.written.items():
            written[1000 * place + number] = lengths
            trained[1000 * place + number] = side.steps[number - 1].lengths
    print(f"lengths: {favour(written, trained)}; oldest token {max(side.oldest for side in beside)} versions")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--staleness", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first repeat")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    first = 1 + asked.staleness
    apart: list[Side] = []
    beside: list[Side] = []
    for seed in range(asked.seed, asked.seed + asked.repeats):
        for sides, side in zip((apart, beside), pair(asked.steps, asked.staleness, seed), strict=True):
            sides.append(side)
        ratio = median(apart[-1].per_token(first)) / median(beside[-1].per_token(first))
        spent = [median(one.seconds for one in side.steps[first:]) for side in (apart[-1], beside[-1])]
        print(
            f"seed {seed}: {spent[0]:.2f} s a step in turns, {spent[1]:.2f} s beside: {ratio:.2f}x",
            flush=True,
        )
    medians = [median(one for side in sides for one in side.per_token(first)) for sides in (apart, beside)]
    speedup = medians[0] / medians[1]
    said(apart, beside)
    simulated = expected(apart, asked.staleness)
    print(f"simulated speedup {simulated:.2f}, measured {speedup:.2f}: {speedup / simulated - 1:+.0%}")
    print(f"speedup={speedup:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
