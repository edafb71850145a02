from dataclasses import replace

import pytest
import torch

from menon.advantage import ReMax
from rows import batch_of, rows_of


def with_baseline(batch, values):
    return replace(batch, baseline=torch.tensor(values))


def test_return_to_go_minus_the_greedy_reward():
    """Rewards -.1, -.2, 1 against .5: .7 - .5, .8 - .5, 1 - .5. An answer as good as the greedy one gives
    0."""
    batch = with_baseline(batch_of([[1, 1, 1], [1, 1, 0]], reward=[[-0.1, -0.2, 1], [0, 0.5, 0]]), [0.5, 0.5])
    batch = ReMax()(batch)
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx([0.2, 0.3, 0.5], abs=1e-7)
    assert rows_of(batch, batch.advantage)[1].tolist() == [0, 0, 0]


def test_edge_cases():
    """A group of one and equal rewards have a baseline all the same; a failed greedy grader, a failed grader,
    no token: 0."""
    batch = batch_of(
        [[1]] * 4 + [[0]],
        outcome=[1, 1, 1, 9, 1],
        group=[0, 0, 1, 2, 2],
        valid=[True, True, True, False, True],
    )
    batch = ReMax()(with_baseline(batch, [0.25, 0.25, float("nan"), 0, 0]))
    assert rows_of(batch, batch.advantage)[:, 0].tolist() == [0.75, 0.75, 0, 0, 0]
    with pytest.raises(ValueError, match="ReMax needs 'baseline'"):
        ReMax()(batch_of([[1]], outcome=[1]))
