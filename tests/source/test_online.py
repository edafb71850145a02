"""Answers of the policy as a source: what a step asks, grades and packs."""

import numpy as np
import pytest
import torch

from menon.batch import pack
from menon.parts import Around
from menon.prompts.order import ByDifficulty
from menon.rollout.groups import Groups
from sources import report
from tiny_run import SAMPLING, even, online, tiny_run


def test_a_step_is_what_the_rollout_gives():
    source, alone = online(tiny_run()), online(tiny_run())
    for _ in range(3):
        gathered = source.next()
        collected = Groups()(alone.prompts, alone.sampler, even, Around(3, 2, SAMPLING))
        graded, metrics = collected.graded, collected.metrics
        assert [g.rollout.tokens.tolist() for g in gathered.graded] == [
            g.rollout.tokens.tolist() for g in graded
        ]
        assert torch.equal(gathered.batch.token, pack(graded).token)
        assert torch.equal(gathered.batch.reward, pack(graded).reward)
        assert dict(gathered.metrics) == metrics


def test_the_oldest_version_is_that_of_a_written_token():
    run = tiny_run()
    assert online(run).next().oldest_version == 0
    run.channel.publish(6)
    assert online(run).next().oldest_version == 6


def test_it_goes_on_where_it_was():
    source, again = online(tiny_run()), online(tiny_run())
    source.next()
    state = source.state()
    expected = [source.next().batch.token for _ in range(2)]
    again.load(state)
    assert all(torch.equal(again.next().batch.token, token) for token in expected)


def test_prompts_that_learn_from_answers_are_told_of_them():
    source = online(tiny_run())
    source.prompts = prompts = ByDifficulty(source.prompts.prompts, 0)
    gathered = source.next()
    source.learned(report(1, gathered))
    asked = {g.rollout.prompt.index for g in gathered.graded}
    right = {
        i: np.mean([g.verdict.acc for g in gathered.graded if g.rollout.prompt.index == i]) for i in asked
    }
    assert {int(row): rate for row, rate in prompts.rates.items()} == pytest.approx(right)
