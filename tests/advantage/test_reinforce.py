import pytest

from menon.advantage import Reinforce
from menon.errors import UserError
from rows import batch_of, rows_of


def test_return_to_go():
    """Rewards 1, 2, 4: 1 + 2 + 4 = 7, 2 + 4 = 6, 4; the second answer's own reward only."""
    batch = Reinforce()(batch_of([[1, 1, 1], [1, 1, 0]], reward=[[1, 2, 4], [0, -3, 0]]))
    assert rows_of(batch, batch.advantage).tolist() == [[7, 6, 4], [-3, -3, 0]]


def test_discount():
    """gamma .5: 1 + .5 * (2 + .5 * 4) = 3, 2 + .5 * 4 = 4, 4."""
    batch = Reinforce(gamma=0.5)(batch_of([[1, 1, 1]], reward=[[1, 2, 4]]))
    assert rows_of(batch, batch.advantage).tolist() == [[3, 4, 4]]


def test_observations_are_no_steps():
    """Token 1 is an environment's: one step lies between tokens 0 and 2, not two."""
    batch = Reinforce(gamma=0.5)(batch_of([[1, 0, 1]], reward=[[1, 9, 4]]))
    assert rows_of(batch, batch.advantage).tolist() == [[3, 0, 4]]


def test_equal_rewards_still_count():
    batch = Reinforce()(batch_of([[1], [1]], outcome=[1, 1]))
    assert rows_of(batch, batch.advantage).tolist() == [[1], [1]]


def test_failed_grader_and_empty_answer_give_zero():
    batch = Reinforce()(batch_of([[1, 1], [0, 0], [1, 0]], outcome=[2, 2, 2], valid=[False, True, True]))
    assert rows_of(batch, batch.advantage).tolist() == [[0, 0], [0, 0], [2, 0]]


def test_refuses_a_discount_above_one():
    with pytest.raises(UserError, match=r"gamma of Reinforce is 1\.5"):
        Reinforce(gamma=1.5)
