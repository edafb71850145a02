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
from menon.arrange import BestWorst
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.loop import Run, loop
from menon.loss import DPO, NLL, PPOClip
from menon.loss.aggregation import PairMean, PairMeanTokenMean, TokenMean
from menon.parts import Around
from menon.prompts.order import ByDifficulty, Unsolved
from menon.rollout.trees import Trees
from menon.rollout.turns import Turns
from menon.select import Correct
from menon.source.online import Online
from menon.sync.by_copy import ByCopy
from menon.types import Prompt, Sampling, StepReport
from menon.update.terms import AnyTerm, Term, Update
from tiny_run import (
    Algorithm,
    Watching,
    critic_first,
    models_of,
    online,
    opened,
    tiny_run,
    traces,
    weights_of,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"
STEPS = 5


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def built(algorithm: str, save_every: int) -> Run:
    """`ppo-pretrained` lets the critic learn alone for three steps; `grpo-bfloat16` samples from a copy of
    the weights in bfloat16; `grpo-turns` answers in turns with a game; `grpo-tree` grows trees and leaves
    edges waiting; `grpo-pairs` makes pairs of the best and the worst answers."""
    name, _, variant = algorithm.partition("-")
    run = tiny_run(cast(Algorithm, name), steps=STEPS, save_every=save_every)
    if not variant:
        return run
    if variant == "turns":
        return in_turns(run)
    if variant == "tree":
        trees, around = Trees((3, 2), (2,), edges_per_question=2), Around(3, 1, Sampling(5))
        credit = {"credit": SegmentCredit(), "whiten": Whiten()}
        update = Update({"policy": Term(PPOClip(), TokenMean())}, count=2, old="behaviour")
        source = Online(online(run).prompts, online(run).sampler, trees, online(run).grade, around)
        plan = replace(run.plan, advantage=credit, updates=(update,))
        return replace(run, source=source, plan=plan)
    if variant in ("difficulty", "unsolved"):
        prompts: Any = online(run).prompts
        order = ByDifficulty if variant == "difficulty" else Unsolved
        online(run).prompts = order(prompts.prompts, prompts.seed)
        return run
    if variant == "pairs":
        terms: dict[str, AnyTerm] = {
            "policy": Term(DPO(), PairMean()),
            "nll": Term(NLL(), PairMeanTokenMean(), Correct(), coef=0.1),
        }
        online(run).around = replace(online(run).around, samples_per_prompt=4)
        plan = replace(run.plan, arrange=(BestWorst(),), updates=(Update(terms, count=2),))
        return replace(run, plan=plan)
    if variant == "pretrained":
        return critic_first(run, 3)
    shared = online(run).sampler
    assert isinstance(shared, TorchSampler)
    own: Any = copy.deepcopy(shared.model).to(torch.bfloat16)
    online(run).sampler = sampler = TorchSampler(own, shared.tokenizer)
    return replace(run, channel=ByCopy(models_of(run)["policy"], sampler))


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
    source: Any = online(run)
    tokenizer: Any = source.sampler.tokenizer

    def encode(text: str, before: Any) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    turns = Turns(Dice(), encode, tokenizer.decode)
    source.around = replace(source.around, answer=turns, sampling=Sampling(16))
    return run


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
        ("grpo-unsolved", 2),
        ("grpo-pairs", 2),
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
