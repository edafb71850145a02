import pytest
import torch

from menon.config import changed
from menon.errors import UserError
from menon.recipes import recipe
from menon.shaping import LinearLength
from rows import batch_of, rows_of


def test_each_token_beyond_the_free_length_costs_the_same():
    """Slope .25, two tokens free: 1, 2, 3 and 4 own tokens lose 0, 0, .25 and .5 on their last one, right or
    wrong; the gap in the last answer is no token of the policy."""
    mask = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 1]]
    batch = batch_of(mask, outcome=[1, 0, 0, 1], acc=[1.0, 0.0, 0.0, 1.0])
    shaped = LinearLength(slope=0.25, free=2)(batch)
    assert rows_of(batch, shaped.reward).tolist() == [
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, -0.25, 0, 0],
        [0, 0, 0, 0, 0.5],
    ]
    assert shaped.outcome.tolist() == [1, 0, -0.25, 0.5]
    assert shaped.acc is batch.acc


def test_without_a_free_length_every_token_costs():
    """No bound: 4 tokens at 2 each."""
    batch = batch_of([[1, 1, 1, 1]], outcome=[1])
    assert LinearLength(slope=2.0)(batch).outcome.tolist() == [1 - 8]


def test_empty_answers_and_failed_graders_stay():
    batch = batch_of([[0, 0], [1, 1], [1, 1]], outcome=[1, 0, 1], valid=[True, False, True])
    assert LinearLength(slope=0.5)(batch).outcome.tolist() == [1, 0, 0]
    nothing = batch_of([[0, 0]], outcome=[1])
    assert torch.equal(LinearLength()(nothing).reward, nothing.reward)


def test_it_comes_before_the_estimator():
    short = {"kind": "linear_length", "slope": "0.01", "free": "20"}
    config = changed(recipe("grpo"), {"advantage": {"short": short, "credit": "grpo"}})
    assert config.advantage["short"] == LinearLength(0.01, 20)
    with pytest.raises(
        UserError, match=r"advantage\.short changes rewards and so comes before advantage\.credit"
    ):
        changed(recipe("grpo"), {"advantage": {"credit": "grpo", "short": short}})


@pytest.mark.parametrize("given", [{"slope": -0.1}, {"free": -1}])
def test_refused(given):
    with pytest.raises(UserError, match="both must be 0 or more"):
        LinearLength(**given)
