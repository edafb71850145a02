from dataclasses import replace

import pytest
import torch

from menon.errors import UserError
from menon.shaping import Overlong
from rows import batch_of, rows_of


def test_the_papers_numbers():
    """Example of docs/numerics.md, 19.5: limit 20480, buffer 4096."""
    part = Overlong(20480, 4096)
    lengths = torch.tensor([0.0, 16384, 18432, 20480, 24576])
    assert part.penalty(lengths).tolist() == [0, 0, -0.5, -1, -1]
    assert replace(part, capped=False, factor=0.5).penalty(lengths).tolist() == [0, 0, -0.25, -0.5, -1]


def test_on_the_last_token_before_the_estimator():
    """Limit 4, buffer 2: 2 tokens lose nothing, 3 lose .5, 4 lose 1; a gap is no token of the policy; raw
    correctness stays."""
    mask = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 1]]
    batch = batch_of(mask, outcome=[1, 1, 1, 1], acc=[1.0] * 4)
    shaped = Overlong(4, 2)(batch)
    assert rows_of(batch, shaped.reward).tolist() == [
        [0, 1, 0, 0],
        [0, 0, 0.5, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0.5],
    ]
    assert shaped.acc is batch.acc


def test_empty_answers_and_failed_graders_stay():
    batch = batch_of([[0, 0], [1, 1], [1, 1]], outcome=[1, 0, 1], valid=[True, False, True])
    assert Overlong(2, 2)(batch).outcome.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "given", [{"limit": 4, "buffer": 5}, {"limit": 4, "buffer": 0}, {"limit": 4, "buffer": 2, "factor": -1}]
)
def test_what_cannot_be_is_refused(given):
    with pytest.raises(UserError, match="the buffer lies between 1 and the limit"):
        Overlong(**given)
