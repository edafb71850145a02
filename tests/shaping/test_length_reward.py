import pytest

from menon.errors import UserError
from menon.shaping import LengthReward
from rows import batch_of


def test_shorter_than_the_others():
    """Lengths 1, 3, 5 of one group: lam .5, 0, -.5. Right answers get it, wrong ones at most 0."""
    mask = [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]
    batch = batch_of(mask, outcome=[0, 1, 1, 1, 0], acc=[0.0, 1, 1, 1, 0], group=[0, 0, 0, 1, 1])
    assert LengthReward()(batch).outcome.tolist() == [0, 1, 0.5, 1, 0]
    right = batch_of(mask, outcome=[1] * 5, acc=[1.0] * 5, group=[0, 0, 0, 1, 1])
    assert LengthReward(0.5)(right).outcome.tolist() == [1.25, 1, 0.75, 1, 1]


def test_empty_answers_and_failed_graders_are_not_compared():
    batch = batch_of(
        [[0, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]],
        outcome=[0, 1, 1, 1],
        acc=[0.0, 1, 1, 1],
        valid=[True, True, True, False],
    )
    assert LengthReward()(batch).outcome.tolist()[:3] == [0, 1.5, 0.5]
    empty = batch_of([[0, 0]], outcome=[1])
    assert LengthReward()(empty) is empty


def test_a_reward_for_length_is_refused():
    with pytest.raises(UserError, match="would reward length"):
        LengthReward(-1)
