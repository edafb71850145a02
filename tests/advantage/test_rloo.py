"""Example of docs/numerics.md, 19.2: four answers of 4, 2, 6 and 3 tokens to one prompt."""

import pytest
import torch

from menon.advantage import RLOO
from rows import batch_of, rows_of

MASK = [[1] * n + [0] * (6 - n) for n in (4, 2, 6, 3)]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ([1, 0, 0, 1], [0.666667, -0.666667, -0.666667, 0.666667]),  # 1 - 1/3, 0 - 2/3
        ([1, 0, 0, 0], [1, -0.333333, -0.333333, -0.333333]),
        ([1, 0.1, 0, 0], [0.966667, -0.233333, -0.366667, -0.366667]),  # 1 - .1/3, .1 - 1/3, 0 - 1.1/3
        ([1, 1, 1, 1], [0, 0, 0, 0]),
    ],
)
def test_one_group(outcome, expected):
    batch = RLOO()(batch_of(MASK, outcome=outcome))
    advantage = rows_of(batch, batch.advantage)
    assert advantage[:, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(advantage, advantage[:, :1] * torch.tensor(MASK))


def test_group_of_one_and_failed_grader():
    """The second group's failed answer leaves one reward against one: .5 - 0 and 0 - .5."""
    batch = batch_of([[1]] * 4, outcome=[3, 0.5, 0, 9], group=[0, 1, 1, 1], valid=[True, True, True, False])
    assert rows_of(batch, RLOO()(batch).advantage)[:, 0].tolist() == [0, 0.5, -0.5, 0]
