"""Law 6: to resume equals never having stopped, at any step and from a kill at any instant (replay level)."""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from menon.engines.torch_sampler import TorchSampler
from menon.loop import Run, loop
from menon.sync.by_copy import ByCopy
from menon.types import StepReport
from tiny_run import Watching, opened, tiny_run, traces, weights_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"
STEPS = 5


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def built(algorithm: str, save_every: int) -> Run:
    """`grpo-bfloat16` samples from a copy of the weights in bfloat16."""
    name: Any = algorithm.removesuffix("-bfloat16")
    run = tiny_run(name, steps=STEPS, save_every=save_every)
    if name == algorithm:
        return run
    assert isinstance(run.sampler, TorchSampler)
    own: Any = copy.deepcopy(run.sampler.model).to(torch.bfloat16)
    return replace(run, sampler=TorchSampler(own, run.sampler.tokenizer), channel=ByCopy())


@pytest.mark.parametrize(
    ("algorithm", "save_every"), [("reinforce", 2), ("grpo", 1), ("grpo", 2), ("ppo", 2), ("grpo-bfloat16", 2)]
)
def test_killed_after_every_step(tmp_path, algorithm: str, save_every: int):
    """Every step is the last one of some sitting, which loses it: it comes after the step's record and before its checkpoint."""
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
