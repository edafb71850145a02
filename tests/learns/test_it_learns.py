"""A random model of a few thousand weights learns to write one letter: the whole path from prompt to weights,
in seconds.

The reward is the share of an answer's tokens that are the letter. Chance gives about 1 in 41; a sign error, a
stale sampler, a shift by one or an advantage on the wrong token each keep it there.
"""

from dataclasses import replace

import pytest

from menon.loop import Run
from menon.parts import Around
from menon.record.clock import Clock
from menon.step import improve
from menon.types import Rollout, Sampling, Verdict
from tiny_run import online, tiny_run

LETTER = 7


def share_of_letter(rollout: Rollout) -> Verdict:
    share = float((rollout.tokens[rollout.is_action] == LETTER).mean())
    return Verdict(share, float(share == 1))


def rewards(run: Run, steps: int) -> list[float]:
    state, found = run.plan.initial_state(), []
    for step in range(1, steps + 1):
        report, state = improve(step, run.source.next(), run.plan, run.host, state, Clock())
        run.channel.publish(step)
        found.append(report.metrics["reward/mean"])
    return found


@pytest.mark.parametrize("algorithm", ["reinforce", "grpo", "ppo"])
def test_the_reward_rises(algorithm):
    run = tiny_run(algorithm, grade=share_of_letter)
    without_kl = {name: part for name, part in run.plan.advantage.items() if name != "kl"}
    online(run).around = Around(8, 8, Sampling(max_new_tokens=5))
    curve = rewards(replace(run, plan=replace(run.plan, advantage=without_kl)), 40)
    assert sum(curve[:3]) / 3 < 0.15
    assert sum(curve[-3:]) / 3 > 0.8
