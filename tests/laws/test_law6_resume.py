"""Law 6: to resume equals never having stopped, at any step and from a kill at any instant (replay level)."""

import copy
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch

from menon.advantage import SegmentCredit, Whiten
from menon.advantage.segment import tree_values
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.loop import Run, loop
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.prompts.order import ByDifficulty
from menon.rollout.replay import Replay
from menon.rollout.tree_growth import Shape
from menon.rollout.trees import Trees
from menon.rollout.turns import Turns
from menon.sync.by_copy import ByCopy
from menon.types import Prompt, Sampling, StepReport
from menon.update.objective import Term, Update
from tiny_run import Algorithm, Watching, critic_first, opened, tiny_run, traces, weights_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"
STEPS = 5


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def built(algorithm: str, save_every: int) -> Run:
    """`ppo-pretrained` lets the critic learn alone for three steps; `grpo-bfloat16` samples from a copy of
    the weights in bfloat16; `grpo-turns` answers in turns with a game; `grpo-tree` grows trees and leaves
    edges waiting."""
    name, _, variant = algorithm.partition("-")
    run = tiny_run(cast(Algorithm, name), steps=STEPS, save_every=save_every)
    if not variant:
        return run
    if variant == "turns":
        return in_turns(run)
    if variant == "tree":
        trees = Trees(3, Sampling(5), tree_values, Shape((3, 2), (2,)), Replay(per_question=2))
        credit = {"credit": SegmentCredit(), "whiten": Whiten()}
        update = Update({"policy": Term(PPOClip(), TokenMean())}, count=2, old="behaviour")
        return replace(run, plan=replace(run.plan, rollout=trees, advantage=credit, updates=(update,)))
    if variant == "difficulty":
        return replace(run, prompts=ByDifficulty(run.prompts.prompts, run.prompts.seed))  # type: ignore[attr-defined]
    if variant == "pretrained":
        return critic_first(run, 3)
    assert isinstance(run.sampler, TorchSampler)
    own: Any = copy.deepcopy(run.sampler.model).to(torch.bfloat16)
    return replace(run, sampler=TorchSampler(own, run.sampler.tokenizer), channel=ByCopy())


@dataclass
class Dice:
    """A word of two letters, drawn from the seed, for every even letter; and a reward for it."""

    stop: ClassVar[tuple[str, ...]] = tuple("02468acegi")
    seed: int = field(default=0, init=False)

    def reset(self, prompt: Prompt, seed: int) -> str:
        self.seed = seed
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        self.seed = self.seed * 5 + len(text)
        return f"{self.seed % 10}{self.seed % 7}", 0.5 * (self.seed % 2), not text.endswith(self.stop)


def in_turns(run: Run) -> Run:
    assert isinstance(run.sampler, TorchSampler)
    tokenizer: Any = run.sampler.tokenizer

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    rollout = replace(run.plan.rollout, answer=Turns(Dice(), encode, tokenizer.decode), sampling=Sampling(16))  # type: ignore[type-var]
    return replace(run, plan=replace(run.plan, rollout=rollout))


@pytest.mark.parametrize(
    ("algorithm", "save_every"),
    [
        ("reinforce", 2),
        ("grpo", 1),
        ("grpo", 2),
        ("ppo", 2),
        ("ppo-pretrained", 2),
        ("grpo-bfloat16", 2),
        ("grpo-turns", 2),
        ("grpo-tree", 2),
        ("grpo-difficulty", 2),
    ],
)
def test_killed_after_every_step(tmp_path, algorithm: str, save_every: int):
    """Every step is the last one of some session, which loses it: it comes after the step's record and before
    its checkpoint."""
    whole = built(algorithm, save_every)
    with opened(tmp_path / "whole") as folder:
        loop(whole, folder, Watching())

    first_steps = []
    for last in range(1, STEPS + 1):

        def kill(report: StepReport, last: int = last) -> None:
            if report.step == last:
                raise Killed

        watch = Watching(kill)
        with opened(tmp_path / "broken") as folder, pytest.raises(Killed):
            loop(built(algorithm, save_every), folder, watch)
        first_steps.append(watch.first_step)
    assert first_steps == {1: [1, 1, 2, 3, 4], 2: [1, 1, 1, 3, 3]}[save_every]
    resumed = built(algorithm, save_every)
    with opened(tmp_path / "broken") as folder:
        loop(resumed, folder, Watching())
    assert traces(tmp_path / "broken") == traces(tmp_path / "whole")
    one, other = weights_of(whole), weights_of(resumed)
    assert all((one[name] == other[name]).all() for name in one)


def test_runs_killed_at_20_random_instants():
    done = subprocess.run([sys.executable, str(SCRIPT), "--kills", "20"], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["20 passed, 0 failed"], done.stdout + done.stderr
    assert done.returncode == 0
