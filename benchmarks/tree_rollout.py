"""The cost of trees: tokens that the sampler computes for trees of 6-6-6, compared with the distinct tokens
in them and with independent answers; and the time of a training step compared with GRPO's.

    python benchmarks/tree_rollout.py [--prompts 2] [--steps 3] [--threads 1]

Trees: segments of 30 tokens, prompts of 60, whole answers of 96; end-of-text tokens are ignored, so every
node has its full length. Independent answers: as many as a tree has leaves, with the prompt computed once for
all of them. Both by the built-in base and sampler; `computed_tokens` counts what went through the model,
padding not.

Steps: the recipes spo_tree and grpo at laptop scale on the built-in base, in turns, each on its own run;
seconds of a step per 1000 tokens that it wrote (the first step of each is not counted). Last line:
`overhead=R vs_flat=R`.
"""

import argparse
import statistics
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch

from menon.assembly.build import build
from menon.base import WEIGHTS
from menon.config import changed
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.loop import Run
from menon.parts import Around
from menon.recipes import recipe
from menon.record.clock import Clock
from menon.rollout.groups import Groups
from menon.rollout.tree_growth import TreeShape
from menon.rollout.trees import Trees
from menon.step import PartState, improve
from menon.types import Prompt, Rollout, Sampling, Verdict

SHAPE, SAMPLING, PROMPT = TreeShape((6, 6, 6), (30,)), Sampling(max_new_tokens=96), 60
LEAVES = 6 * 6 * 6


class Fixed:
    """Prompts of random digits, all of one length."""

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        digits = np.random.default_rng(0).integers(48, 58, (count, PROMPT)).astype(np.int32)
        return [(Prompt(i, tokens, bytes(tokens.tolist()).decode()), 0) for i, tokens in enumerate(digits)]

    def state(self) -> dict[str, int]:
        return {}

    def load(self, state: dict[str, int]) -> None: ...


def parity(rollout: Rollout) -> Verdict:
    right = float(rollout.tokens.sum() % 2)
    return Verdict(right, right)


def endless(slots: int) -> TorchSampler:
    """A sampler for which no token ends a text."""
    sampler = TorchSampler(*load_policy(str(WEIGHTS), torch.float32, torch.device("cpu")), slots=slots)
    sampler.end_tokens = np.array([-1])
    return sampler


def computed(prompts: int) -> tuple[int, int, int]:
    """(computed for trees, distinct tokens of the trees, computed for independent answers)."""
    sampler = endless(256)
    trees, around = Trees(SHAPE.branching, SHAPE.segment_tokens), Around(prompts, sampling=SAMPLING)
    graded = trees(Fixed(), sampler, parity, around, trees.init()).graded
    distinct = prompts * PROMPT + sum(int(g.rollout.is_action.sum()) for g in graded)
    assert distinct == prompts * SHAPE.most_tokens(PROMPT, SAMPLING.max_new_tokens)
    by_tree = sampler.computed_tokens
    sampler = endless(256)
    Groups()(Fixed(), sampler, parity, Around(prompts, LEAVES, SAMPLING))
    return by_tree, distinct, sampler.computed_tokens


def seconds_per_1000(names: Sequence[str], steps: int) -> dict[str, list[float]]:
    """Seconds per 1000 tokens of each counted step of each recipe."""
    found: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        settings = {"threads": torch.get_num_threads()}
        runs = {name: stack.enter_context(build(changed(recipe(name), settings))) for name in names}
        states: dict[str, PartState] = {name: run.plan.initial_state() for name, run in runs.items()}
        for step in range(1, steps + 2):
            for name, run in runs.items():
                numbers, states[name] = one_step(run, step, states[name])
                if step > 1:
                    found[name].append(1000 * numbers["time/step"] / numbers["tokens/generated"])
                print(
                    f"{name:<9} step {step}: {numbers['tokens/generated']:>7,.0f} tokens, "
                    f"{numbers['time/step']:6.2f} s, of which "
                    f"rollout {numbers['time/rollout']:.2f}, score {numbers['time/score']:.2f}, update "
                    f"{numbers['time/update']:.2f}",
                    flush=True,
                )
    return found


def one_step(run: Run, step: int, state: PartState) -> tuple[dict[str, float], PartState]:
    """Metrics and times of a step, and the state of the parts after it."""
    clock = Clock()
    with clock("rollout"):
        gathered = run.source.next()
    report, state = improve(step, gathered, run.plan, run.host, state, clock)
    run.source.learned(report)
    with clock("sync"):
        run.source.published(run.channel.publish(step).version)
    return {**report.metrics, **clock.times()}, state


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.steps:
        found = seconds_per_1000(("grpo", "spo_tree"), asked.steps)
        middle = {name: statistics.median(values) for name, values in found.items()}
        told = ", ".join(f"{name} {value:.3f} s" for name, value in middle.items())
        print(
            f"a step per 1000 tokens written: {told}; spo_tree / grpo "
            f"{middle['spo_tree'] / middle['grpo']:.2f}"
        )
    by_tree, distinct, flat = computed(asked.prompts)
    print(
        f"{asked.prompts} trees: {distinct:,} distinct tokens, {by_tree:,} computed; independent answers "
        f"{flat:,} computed"
    )
    print(f"overhead={by_tree / distinct:.3f} vs_flat={flat / by_tree:.3f}")


if __name__ == "__main__":
    main()
