"""The KL of docs/numerics.md, 19.3, in the reward, and the controller of docs/numerics.md, 19.4."""

import pytest

from menon.adaptive_kl import steered
from menon.errors import UserError
from menon.shaping import KLInReward
from rows import batch_of, rows_of

OLD = [[-0.7, -0.6, -1.2], [-0.3, -0.9, 0]]
REF = [[-1.1, -0.4, -1.9], [-0.5, -1.0, 0]]
MASK = [[1, 1, 1], [1, 1, 0]]


def test_penalty_on_every_trained_token():
    """k1 = .4, -.2, .7 / .2, .1; beta .5 takes .2, -.1, .35 / .1, .05 off; the outcome 1 lies on the last
    token."""
    part = KLInReward(beta=0.5)
    batch, state = part(batch_of(MASK, outcome=[1, 0], old_logp=OLD, ref_logp=REF), part.init())
    assert rows_of(batch, batch.reward)[0].tolist() == pytest.approx([-0.2, 0.1, 0.65])
    assert rows_of(batch, batch.reward)[1].tolist() == pytest.approx([-0.1, -0.05, 0])
    assert batch.outcome.tolist() == pytest.approx([0.55, -0.15])
    assert state == {"beta": 0.5}


def test_invalid_answers_and_prompts_keep_their_reward():
    part = KLInReward(beta=1)
    batch, _ = part(
        batch_of(MASK, outcome=[1, 0], old_logp=OLD, ref_logp=REF, valid=[True, False]), part.init()
    )
    assert batch.reward[batch.position == 0].tolist() == [0, 0]
    assert rows_of(batch, batch.reward)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("kl", "factor"), [(0.01, 0.99488), (0.02, 0.99488), (0.06, 1.0), (0.12, 1.00512)])
def test_controller(kl, factor):
    """Error clipped to +-.2, times 256 / 10000 = .0256: 1 -+ .00512."""
    assert steered(0.3, kl, 256, 0.06, 10_000) == pytest.approx(0.3 * factor, abs=1e-12)


def test_the_step_steers_beta():
    """Token means .3 and .15, mean over two answers .225; target .2: error .125; n / horizon = 2 / 10: beta
    *= 1.025.

    The empty and the invalid answer are in no mean. The step's own rewards use the beta from before.
    """
    part = KLInReward(beta=0.5, target=0.2, horizon=10)
    mask = [*MASK, [0, 0, 0], [1, 1, 1]]
    valid = [True, True, True, False]
    batch = batch_of(mask, old_logp=[*OLD, [0] * 3, [0] * 3], ref_logp=[*REF, [0] * 3, [-9] * 3], valid=valid)
    batch, state = part(batch, part.init())
    assert state["beta"] == pytest.approx(0.5 * 1.025, abs=1e-12)
    assert rows_of(batch, batch.reward)[0].tolist() == pytest.approx([-0.2, 0.1, -0.35])
    _, again = part(batch, state)
    assert again["beta"] == pytest.approx(0.5 * 1.025**2, abs=1e-12)


def test_nothing_to_measure_keeps_beta():
    part = KLInReward(beta=0.5, target=0.2)
    batch = batch_of([[0]], old_logp=[[0]], ref_logp=[[0]])
    assert part(batch, part.init())[1] == {"beta": 0.5}


def test_refusals():
    with pytest.raises(UserError, match="beta of KLInReward is -1"):
        KLInReward(beta=-1)
    with pytest.raises(UserError, match="target 0"):
        KLInReward(target=0)
    with pytest.raises(ValueError, match="KLInReward needs 'ref_logp'"):
        KLInReward()(batch_of([[1]], old_logp=[[0]]), {"beta": 1.0})
