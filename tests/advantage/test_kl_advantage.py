import pytest

from menon.advantage import GRPO, KLInAdvantage
from menon.errors import UserError
from rows import batch_of, rows_of


def batch(**given):
    """k1 = .4, -.2, .7 in the first answer and .2 in the second (docs/numerics.md, 19.3); credit +-.5 of a
    group of two."""
    old, ref = [[-0.7, -0.6, -1.2], [-0.3, 0, 0]], [[-1.1, -0.4, -1.9], [-0.5, 0, 0]]
    return GRPO("none")(batch_of([[1, 1, 1], [1, 0, 0]], outcome=[1, 0], old_logp=old, ref_logp=ref, **given))


def test_each_token_pays_for_itself():
    got = KLInAdvantage(beta=0.5, pays="own")(batch())
    assert rows_of(got, got.advantage)[0].tolist() == pytest.approx([0.3, 0.6, 0.15], abs=1e-9)
    assert rows_of(got, got.advantage)[1].tolist() == pytest.approx([-0.6, 0, 0], abs=1e-9)


def test_each_token_pays_for_the_rest():
    """To go: .9, .5, .7; with gamma .5: .4 + .5 * .15 = .475, -.2 + .35 = .15, .7."""
    got = KLInAdvantage(beta=1)(batch())
    assert rows_of(got, got.advantage)[0].tolist() == pytest.approx([-0.4, 0, -0.2], abs=1e-9)
    got = KLInAdvantage(beta=1, gamma=0.5)(batch())
    assert rows_of(got, got.advantage)[0].tolist() == pytest.approx([0.025, 0.35, -0.2], abs=1e-9)


def test_failed_graders_pay_nothing_and_what_cannot_be_is_refused():
    got = KLInAdvantage(beta=1)(batch(valid=[True, False]))
    assert rows_of(got, got.advantage).tolist() == [pytest.approx([-0.9, -0.5, -0.7]), [0, 0, 0]]
    with pytest.raises(UserError, match="beta -1"):
        KLInAdvantage(beta=-1)
