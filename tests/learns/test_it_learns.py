"""A random model of a few thousand weights learns to write one letter: the whole path from prompt to weights,
in seconds.

The reward is the share of an answer's tokens that are the letter. Chance gives about 1 in 41; a sign error, a
stale sampler, a shift by one or an advantage on the wrong token each keep it there.
"""

from dataclasses import replace

import pytest
from tiny_run import tiny_run

from menon.loop import Run
from menon.parts import Around
from menon.step import train_step
from menon.types import Rollout, Sampling, Verdict

LETTER = 7


def share_of_letter(rollout: Rollout) -> Verdict:
    share = float((rollout.tokens[rollout.is_action] == LETTER).mean())
    return Verdict(share, float(share == 1))


def rewards(run: Run, steps: int) -> list[float]:
    memory, found = run.plan.memory(), []
    for step in range(1, steps + 1):
        report, memory = train_step(step, run.prompts, run.plan, run.sampler, run.models, run.channel, memory)
        found.append(report.metrics["reward/mean"])
    return found


@pytest.mark.parametrize("algorithm", ["reinforce", "grpo", "ppo"])
def test_the_reward_rises(algorithm):
    run = tiny_run(algorithm, grade=share_of_letter)
    without_kl = {name: part for name, part in run.plan.advantage.items() if name != "kl"}
    plan = replace(run.plan, around=Around(8, 8, Sampling(max_new_tokens=5)), advantage=without_kl)
    curve = rewards(replace(run, plan=plan), 40)
    assert sum(curve[:3]) / 3 < 0.15
    assert sum(curve[-3:]) / 3 > 0.8
