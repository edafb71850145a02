"""The example of docs/numerics.md, 19.1, r = [0, 0, 0, 1] and V = [.5, .6, .4, .7], through a critic that
speaks normalised."""

import math

import pytest

from menon.advantage import GAE, NormalisedGAE
from menon.errors import UserError
from rows import batch_of, rows_of

REWARD, VALUE = [[0, 0, 0, 1]], [[0.5, 0.6, 0.4, 0.7]]


def test_before_any_return_values_are_themselves():
    """Returns with lam = .5: A = .1 + .5 (-.05) = .075 and so on; the targets lie at mean 0 and deviation 1,
    but for eps."""
    part = NormalisedGAE(lam=0.5)
    batch, state = part(batch_of([[1, 1, 1, 1]], reward=REWARD, value=VALUE), part.init())
    plain = GAE(lam=0.5)(batch_of([[1, 1, 1, 1]], reward=REWARD, value=VALUE))
    assert rows_of(batch, batch.advantage).tolist() == rows_of(plain, plain.advantage).tolist()
    returns = rows_of(plain, plain.ret)[0]
    mean, variance = float(returns.mean()), float(returns.var(correction=0))
    expected = (returns - mean) / math.sqrt(variance + 1e-5)
    assert rows_of(batch, batch.ret)[0].tolist() == pytest.approx(expected.tolist())
    assert rows_of(batch, batch.value).tolist() == VALUE
    assert state["mean"] / state["weight"] == pytest.approx(mean)


def test_values_are_read_on_the_scale_of_what_was_seen():
    """Moments of returns 2 +- 1 (second moment 5): v = (V - 2) / 1 gives what GAE gives for V."""
    part, state = NormalisedGAE(lam=0.95, eps=1e-12), {"mean": 2 * 0.5, "square": 5 * 0.5, "weight": 0.5}
    batch, after = part(batch_of([[1, 1, 1, 1]], reward=REWARD, value=[[v - 2 for v in VALUE[0]]]), state)
    # Example of docs/numerics.md, 19.1, for lam .95.
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx(
        [0.437962, 0.355750, 0.585, 0.3], abs=1e-6
    )
    returns = [0.937962, 0.955750, 0.985, 1]
    weight = 0.99995 * 0.5 + 0.00005
    mean = (0.99995 * 1 + 0.00005 * sum(returns) / 4) / weight
    square = (0.99995 * 2.5 + 0.00005 * sum(r * r for r in returns) / 4) / weight
    assert (after["weight"], after["mean"] / weight) == pytest.approx((weight, mean))
    expected = [(r - mean) / math.sqrt(square - mean**2) for r in returns]
    assert rows_of(batch, batch.ret)[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_cut_answer_is_bootstrapped_on_the_same_scale():
    part, state = (
        NormalisedGAE(bootstrap_truncated=True, eps=1e-12),
        {"mean": 2.0, "square": 5.0, "weight": 1.0},
    )
    given = {"value": [[-1.5, -1.4]], "value_after": [[-1.4, -1.0]], "finish": ["length"]}
    batch, _ = part(batch_of([[1, 1]], reward=[[0, 0]], **given), state)
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx(
        [1 - 0.5, 1 - 0.6]
    )  # V behind the end: 2 - 1


def test_nothing_trained_is_nothing_seen():
    part = NormalisedGAE()
    batch, state = part(batch_of([[0, 0]], reward=[[0, 0]], value=[[1, 1]]), part.init())
    assert (batch.ret.tolist(), state) == ([0], part.init())


@pytest.mark.parametrize(
    ("settings", "sentence"), [({"decay": 1.0}, "decay 1.0"), ({"eps": 0}, "eps 0"), ({"lam": 2}, "lam of")]
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        NormalisedGAE(**settings)
