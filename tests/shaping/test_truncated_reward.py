import pytest

from menon.shaping import TruncatedReward
from rows import batch_of, rows_of


@pytest.mark.parametrize(
    ("part", "expected"),
    [(TruncatedReward(), 0), (TruncatedReward(0.5), 0.5), (TruncatedReward(value=-2), -2)],
)
def test_only_what_was_cut(part, expected):
    """Rewards 1 each; the second was cut, the third cut without a token, the fourth cut and its grader
    failed."""
    mask = [[1, 1], [1, 1], [0, 0], [1, 0]]
    batch = batch_of(
        mask,
        outcome=[1, 1, 1, 1],
        finish=["stop", "length", "length", "length"],
        valid=[True, True, True, False],
    )
    assert part(batch).outcome.tolist() == [1, expected, 1, 1]


def test_rewards_of_turns_shrink_alike_and_a_value_takes_their_place():
    batch = batch_of([[1, 1, 1]], reward=[[0.5, 0, 1]], finish=["length"])
    assert rows_of(batch, TruncatedReward(0.5)(batch).reward)[0].tolist() == [0.25, 0, 0.5]
    assert rows_of(batch, TruncatedReward(value=-1)(batch).reward)[0].tolist() == [0, 0, -1]
