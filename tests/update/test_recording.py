"""A run that records its updates learns as one that does not, and its records say what the updates did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from menon.loop import loop
from menon.record.reader import RunView
from tiny_run import Algorithm, Watching, online, opened, tiny_run, traces


def driven(path: Path, algorithm: Algorithm, full: bool) -> RunView:
    run = tiny_run(algorithm, steps=2)
    if full:
        run = replace(run, plan=replace(run.plan, record_updates=True))
        online(run).sampler.alternatives = 3
    with opened(path) as folder:
        loop(run, folder, Watching())
    return RunView(path)


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_recording_changes_nothing_that_is_learned(tmp_path, algorithm):
    lean, full = driven(tmp_path / "lean", algorithm, False), driven(tmp_path / "full", algorithm, True)
    one, other = traces(lean.path), traces(full.path)
    for name in ("metrics.jsonl", "checkpoints/step_000002/model.safetensors"):
        assert one[name] == other[name]
    assert lean.updates.steps == []
    assert full.updates.steps == [1, 2]


def test_records_of_two_updates(tmp_path):
    """Weights of the policy's term add up to 1 in each update (token mean); the second update starts where
    the first one ended only for its own sequences; a token with a weight and an advantage moves with it."""
    view = driven(tmp_path / "run", "grpo", True)
    records, rows = view.update_records(1), view.transcripts.rows(1)
    assert [(record.update, record.model, record.term) for record in records] == [
        (0, "policy", "policy"),
        (1, "policy", "policy"),
    ]
    assert sorted(np.concatenate([record.sequence for record in records])) == list(range(6))
    for record in records:
        assert record.weight.sum() == pytest.approx(1, abs=1e-6)
        action = np.concatenate([rows[place]["is_action"] for place in record.sequence])
        assert ((record.weight > 0) == action).all()
        behaviour = np.concatenate([rows[place]["behaviour_logp"] for place in record.sequence])
        if record.update == 0:
            np.testing.assert_allclose(record.logp_before[action], behaviour[action], atol=1e-5)
        advantage = np.concatenate([rows[place]["advantage"] for place in record.sequence])
        moved = (record.logp_after - record.logp_before)[action]
        assert (moved * advantage[action]).sum() > 0


def test_alternatives_stand_beside_each_token_that_was_drawn(tmp_path):
    view = driven(tmp_path / "run", "grpo", True)
    seen = 0
    for row in view.transcripts.rows(1):
        drawn = [token for token, is_action in zip(row["tokens"], row["is_action"], strict=True) if is_action]
        logp = [
            value
            for value, is_action in zip(row["behaviour_logp"], row["is_action"], strict=True)
            if is_action
        ]
        assert [len(each) for each in row["alternatives"]] == [3] * len(drawn)
        for token, own, others, theirs in zip(
            drawn, logp, row["alternatives"], row["alternatives_logp"], strict=True
        ):
            assert theirs == sorted(theirs, reverse=True)
            if token in others:
                seen += 1
                assert theirs[others.index(token)] == pytest.approx(own, abs=1e-5)
    assert seen > 0
