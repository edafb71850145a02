import pytest

from menon.advantage import GRPO, Teacher
from menon.errors import UserError
from rows import batch_of, rows_of

OLD, OF_TEACHER = [[-0.7, -0.6, -1.2], [-0.3, 0, 0]], [[-1.1, -0.4, -1.9], [-0.5, 0, 0]]
"""k = .4, -.2, .7 in the first answer and .2 in the second."""


def batch(**given):
    return batch_of([[1, 1, 1], [1, 0, 0]], outcome=[1, 0], old_logp=OLD, teacher_logp=OF_TEACHER, **given)


def advantages(part, **given):
    got = part(batch(**given))
    return rows_of(got, got.advantage).tolist()


def test_a_token_gains_what_the_teacher_gives_it_more():
    assert advantages(Teacher()) == [pytest.approx([-0.4, 0.2, -0.7]), pytest.approx([-0.2, 0, 0])]
    assert advantages(Teacher(coef=0.5))[0] == pytest.approx([-0.2, 0.1, -0.35])


def test_bounded_log_ratios():
    assert advantages(Teacher(most=0.3))[0] == pytest.approx([-0.3, 0.2, -0.3])


def test_a_token_pays_for_what_follows():
    """To go: .9, .5, .7; with gamma .5: .4 + .5 x .15 = .475, -.2 + .35 = .15, .7."""
    assert advantages(Teacher(gamma=1))[0] == pytest.approx([-0.9, -0.5, -0.7])
    assert advantages(Teacher(gamma=0.5))[0] == pytest.approx([-0.475, -0.15, -0.7])


def test_on_top_of_a_reward():
    """GRPO gives +-.5 to the two answers of a group."""
    part = Teacher(coef=0.5, adds=True)
    got = part(GRPO("none")(batch()))
    assert rows_of(got, got.advantage).tolist() == [
        pytest.approx([0.3, 0.6, 0.15]),
        pytest.approx([-0.6, 0, 0]),
    ]
    assert part.reads == ("old_logp", "teacher_logp", "advantage")
    assert "advantage" not in Teacher().reads


def test_failed_graders_and_tokens_that_both_exclude_teach_nothing():
    assert advantages(Teacher(), valid=[True, False])[1] == [0, 0, 0]
    never = [[-0.7, -float("inf"), -1.2], [-0.3, 0, 0]]
    got = Teacher()(batch_of([[1, 1, 1], [1, 0, 0]], outcome=[1, 0], old_logp=never, teacher_logp=never))
    assert rows_of(got, got.advantage).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_what_cannot_be_is_refused():
    for wrong in ({"coef": -1}, {"gamma": 1.5}):
        with pytest.raises(UserError, match="of Teacher must be 0 or positive, and gamma"):
            Teacher(**wrong)
    with pytest.raises(UserError, match="most of Teacher is -1"):
        Teacher(most=-1)
