"""Example of docs/numerics.md, 19.1: r = [0, 0, 0, 1], V = [.5, .6, .4, .7]."""

import pytest

from menon.advantage import GAE
from menon.errors import UserError
from rows import batch_of, rows_of

REWARD, VALUE = [[0, 0, 0, 1]], [[0.5, 0.6, 0.4, 0.7]]

# delta (gamma 1) = .6 - .5, .4 - .6, .7 - .4, 1 - .7 = .1, -.2, .3, .3. lam .95: .3; .3 + .95 * .3 = .585;
# -.2 + .95 * .585 = .35575; .1 + .95 * .35575 = .4379625. gamma .9: delta = .04, -.24, .23, .3; gamma lam =
# .81: .3; .23 + .81 * .3 = .473; -.24 + .38313 = .14313; .04 + .1159353.
CASES = [
    (GAE(), [0.5, 0.4, 0.6, 0.3], [1, 1, 1, 1]),
    (GAE(lam=0.95), [0.437962, 0.355750, 0.585, 0.3], [0.937962, 0.955750, 0.985, 1]),
    (GAE(gamma=0.9, lam=0.9), [0.155935, 0.143130, 0.473, 0.3], [0.655935, 0.743130, 0.873, 1]),
    (GAE(lam=0), [0.1, -0.2, 0.3, 0.3], [0.6, 0.4, 0.7, 1]),
]


@pytest.mark.parametrize(("part", "advantage", "ret"), CASES)
def test_one_answer(part, advantage, ret):
    batch = part(batch_of([[1, 1, 1, 1]], reward=REWARD, value=VALUE))
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx(advantage, abs=1e-6)
    assert rows_of(batch, batch.ret)[0].tolist() == pytest.approx(ret, abs=1e-6)


def test_environment_tokens_are_passed_over():
    """Without token 2: delta = .1, .7 - .6 = .1, .3; .1 + .95 * .3 = .385; .1 + .95 * .385 = .46575."""
    batch = GAE(lam=0.95)(batch_of([[1, 1, 0, 1]], reward=REWARD, value=VALUE))
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx([0.46575, 0.385, 0, 0.3], abs=1e-9)
    assert rows_of(batch, batch.ret)[0].tolist() == pytest.approx([0.96575, 0.985, 0, 1], abs=1e-9)


def test_truncated_counts_as_ended():
    """No reward, cut at the limit: A = 0 - V with lam = 1, not the value of a state after the last token."""
    batch = GAE()(batch_of([[1, 1, 1, 1]], reward=[[0] * 4], value=VALUE, finish=["length"]))
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx([-0.5, -0.6, -0.4, -0.7])


def test_neighbours_do_not_leak():
    """The second answer's first value is not the first answer's next one; an empty answer between them is no
    step."""
    batch = batch_of([[1, 1], [0, 0], [1, 1]], outcome=[1, 5, 0], value=[[0.5, 0.25], [9, 9], [0.75, 0.5]])
    batch = GAE(lam=0.5)(batch)
    # .75; -.25 + .5 * .75 = .125 | -.5; -.25 + .5 * -.5 = -.5
    assert rows_of(batch, batch.advantage).tolist() == [[0.125, 0.75], [0, 0], [-0.5, -0.5]]


def test_nothing_trained():
    batch = GAE()(batch_of([[0, 0], [0, 0]], outcome=[1, 1], value=[[1, 1], [1, 1]]))
    assert (batch.advantage.tolist(), batch.ret.tolist()) == ([0, 0], [0, 0])


def test_failed_grader_gives_zero():
    batch = GAE()(
        batch_of([[1, 1], [1, 1]], outcome=[0, 1], value=[[0.5, 0.5], [0.5, 0.5]], valid=[False, True])
    )
    assert rows_of(batch, batch.advantage).tolist() == [[0, 0], [0.5, 0.5]]
    assert rows_of(batch, batch.ret).tolist() == [[0, 0], [1, 1]]


def test_needs_a_critic():
    with pytest.raises(ValueError, match="GAE needs 'value'"):
        GAE()(batch_of([[1]], outcome=[1]))


def test_refuses_lambda_above_one():
    with pytest.raises(UserError, match="lam of GAE is 2"):
        GAE(lam=2)
