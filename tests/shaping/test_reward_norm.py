import pytest
import torch

from menon.errors import UserError
from menon.shaping import RewardNorm
from rows import batch_of


def outcomes(part, rewards, state=None, **more):
    batch = batch_of([[1, 1]] * len(rewards), outcome=rewards, **more)
    batch, state = part(batch, part.init() if state is None else state)
    return batch.outcome.tolist(), state


def test_the_z_score_of_the_spec():
    """Example of docs/numerics.md, 19.5: [.8, .4, 0, 1] has mean .55 and population standard deviation
    .384057."""
    found, _ = outcomes(RewardNorm(), [0.8, 0.4, 0, 1])
    assert found == pytest.approx([0.650945, -0.390567, -1.432078, 1.171700], abs=1e-5)
    kept, _ = outcomes(RewardNorm(center=False), [0.8, 0.4, 0, 1])
    assert kept == pytest.approx(
        [0.650945 + 0.55, -0.390567 + 0.55, -1.432078 + 0.55, 1.171700 + 0.55], abs=1e-5
    )


def test_equal_rewards_become_zero_and_clipping_comes_first():
    assert outcomes(RewardNorm(), [3, 3, 3])[0] == [0, 0, 0]
    assert outcomes(RewardNorm(center=False), [3, 3])[0] == [3, 3]
    assert outcomes(RewardNorm(clip=1), [5, -7])[0] == pytest.approx([1, -1])  # 1 and -1: mean 0, deviation 1


def test_running_moments():
    """decay .5, eps 0. Step 1: rewards 0, 2: mean 1, square 2, so variance 1. Step 2: 4, 4: mean (.25 * 1 +
    .5 * 4) / .75 = 3, square (.25 * 2 + .5 * 16) / .75 = 34/3, variance 34/3 - 9 = 7/3, so (4 - 3) / 1.527525
    = .654654."""
    part = RewardNorm("running", decay=0.5, eps=0.0)
    found, state = outcomes(part, [0, 2])
    assert found == pytest.approx([-1, 1])
    found, state = outcomes(part, [4, 4], state)
    assert found == pytest.approx([0.654654, 0.654654], abs=1e-5)
    assert state["weight"] == 0.75


def test_failed_graders_are_left_out_and_empty_answers_are_not():
    batch = batch_of([[1, 1], [1, 1], [0, 0]], outcome=[2, 9, 0], valid=[True, False, True])
    shaped, _ = RewardNorm()(batch, RewardNorm().init())
    assert shaped.outcome.tolist() == pytest.approx([1, 9, -1])
    assert shaped.acc is batch.acc


def test_a_step_without_any_verdict_changes_nothing():
    batch = batch_of([[1, 1]], outcome=[0], valid=[False])
    part = RewardNorm("running")
    shaped, state = part(batch, part.init())
    assert torch.equal(shaped.reward, batch.reward)
    assert state == part.init()


@pytest.mark.parametrize("given", [{"clip": 0.0}, {"decay": 1.0}, {"eps": -1.0}])
def test_what_cannot_be_is_refused(given):
    with pytest.raises(UserError, match="of RewardNorm"):
        RewardNorm(**given)


def test_a_clip_alone():
    part = RewardNorm(over="none", clip=2.0)
    batch, _ = part(batch_of([[1, 1], [1, 0], [1, 1]], outcome=[5.0, -3.0, 1.5]), part.init())
    assert batch.outcome.tolist() == [2.0, -2.0, 1.5]
    with pytest.raises(
        UserError, match="over=none of RewardNorm leaves rewards on their scale and so needs a clip"
    ):
        RewardNorm(over="none")
