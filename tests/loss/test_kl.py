"""Example of docs/numerics.md, 19.3: k = .4, -.2, .7 / .2, .1."""

import math

import pytest

from menon.errors import UserError
from menon.loss import KL
from menon.loss.aggregation import SequenceMean, TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

NEW = [[-0.7, -0.6, -1.2], [-0.3, -0.9, 0]]
REF = [[-1.1, -0.4, -1.9], [-0.5, -1, 0]]
MASK = [[1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("estimator", "tokens", "mean", "slope"),
    [
        ("k1", [0.4, -0.2, 0.7, 0.2, 0.1], 0.24, [1, 1, 1, 1, 1]),
        ("abs", [0.4, 0.2, 0.7, 0.2, 0.1], 0.32, [1, -1, 1, 1, 1]),
        ("k2", [0.08, 0.02, 0.245, 0.02, 0.005], 0.074, [0.4, -0.2, 0.7, 0.2, 0.1]),
        (
            "k3",
            [0.070320, 0.021403, 0.196585, 0.018731, 0.004837],
            0.062375,
            [0.329680, -0.221403, 0.503415, 0.181269, 0.095163],
        ),
    ],
)
def test_values_and_gradients(estimator, tokens, mean, slope):
    """Slopes: 1, sign k, k, 1 - exp(-k)."""
    batch = batch_of(MASK, ref_logp=REF)
    now = {"logp": column_of(batch, NEW)}
    assert KL(estimator)(now, batch)[batch.trained].tolist() == pytest.approx(tokens, abs=1e-6)
    value, gradient = value_and_gradient(Term(KL(estimator), TokenMean()), batch, now)
    assert value == pytest.approx(mean, abs=1e-6)
    assert (5 * gradient[batch.trained]).tolist() == pytest.approx(slope, abs=1e-6)


def test_k3_is_clamped_with_zero_gradient():
    """-k = 2.61: exp(2.61) - 1 - 2.61 = 9.989; -k = 2.62: 10.116 -> 10; -k = 1000 would overflow; +1000: -1 +
    20."""
    batch = batch_of([[1, 1, 1, 1]], ref_logp=[[0, 0, 0, 0]])
    value, gradient = value_and_gradient(
        Term(KL("k3"), SequenceMean()), batch, {"logp": column_of(batch, [[-2.61, -2.62, -1000, 1000]])}
    )
    assert value == pytest.approx(math.exp(2.61) - 3.61 + 10 + 10 + 10, abs=1e-9)
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([1 - math.exp(2.61), 0, 0, 0])


@pytest.mark.parametrize(
    ("part", "values"),
    [
        (KL("k1", most=10), [10, -10, 3]),
        (KL("k2", most=10), [10, 10, 4.5]),
        (KL("abs"), [12, 30, 3]),
        (KL("k3"), [10, 10, math.exp(-3) + 2]),
        (KL("k3", most=1e38), [11 + math.exp(-12), math.exp(20) - 21, math.exp(-3) + 2]),
        (KL("k3", limit=80, most=1e38), [11 + math.exp(-12), math.exp(30) - 31, math.exp(-3) + 2]),
        (KL("k3+", limit=10, most=1e38), [9 + math.exp(-10), math.exp(10) - 11, math.exp(-3) + 2]),
    ],
)
def test_clamps(part, values):
    """k = 12, -30, 3: `limit` holds the log-ratio of k3, `most` any result."""
    batch = batch_of([[1, 1, 1]], ref_logp=[[-12, 0, -3]])
    assert part({"logp": column_of(batch, [[0, -30, 0]])}, batch)[batch.trained].tolist() == pytest.approx(
        values
    )


def test_a_clamp_that_holds_nothing_in():
    for most in (0, -1):
        with pytest.raises(UserError, match=f"most of KL is {most}"):
            KL(most=most)
    with pytest.raises(UserError, match="limit 0 of KL bounds a log-ratio"):
        KL(limit=0)


def test_coefficient_scales():
    batch = batch_of(MASK, ref_logp=REF)
    value, _ = value_and_gradient(
        Term(KL("k3"), TokenMean(), coef=0.04), batch, {"logp": column_of(batch, NEW)}
    )
    assert value == pytest.approx(0.04 * 0.062375, abs=1e-7)


def test_metrics_are_of_the_policy_before_the_step():
    """Whatever the term estimates. k = .4 -.2 .7 .2 .1 on the first update; later those of the old policy,
    here the reference."""
    batch = batch_of(MASK, ref_logp=REF)
    _, metrics = loss_and_metrics(Term(KL("k2"), TokenMean()), batch, {"logp": column_of(batch, NEW)})
    found = {name: float(metric) for name, metric in metrics.items() if name.startswith("kl/")}
    assert found == pytest.approx({"kl/ref_k1": 0.24, "kl/ref_k3": 0.062375, "kl/seq": 0.6}, abs=1e-6)
    later = batch_of(MASK, ref_logp=REF, old_logp=REF)
    _, metrics = loss_and_metrics(Term(KL("k2"), TokenMean()), later, {"logp": column_of(later, NEW)})
    assert [float(metrics[name]) for name in ("kl/ref_k1", "kl/ref_k3", "kl/seq")] == [0, 0, 0]


def test_reference_that_is_the_start_gives_exactly_zero():
    batch = batch_of(MASK, ref_logp=NEW)
    value, gradient = value_and_gradient(Term(KL("k3"), TokenMean()), batch, {"logp": column_of(batch, NEW)})
    assert value == 0
    assert gradient.abs().max() == 0


def test_needs_a_reference():
    batch = batch_of(MASK)
    with pytest.raises(ValueError, match="KL needs 'ref_logp'"):
        KL()({"logp": column_of(batch, NEW)}, batch)


def near(**columns):
    batch = batch_of(MASK, ref_logp=REF, **columns)
    return batch, {"logp": column_of(batch, NEW)}


OLD = [[-1, -0.5, -2], [-0.2, -1.5, 0]]
K = [0.4, -0.2, 0.7, 0.2, 0.1]


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_straight_through_has_the_gradient_of_k2(estimator):
    """Which is k itself; the value stays."""
    batch, now = near()
    plain, _ = value_and_gradient(Term(KL(estimator), TokenMean()), batch, now)
    value, gradient = value_and_gradient(Term(KL(estimator + "+"), TokenMean()), batch, now)
    assert value == pytest.approx(plain, abs=1e-12)
    assert (5 * gradient[batch.trained]).tolist() == pytest.approx(K, abs=1e-6)


def test_weighed_by_the_ratio():
    """Example of docs/numerics.md, 19.3: the mean of rho k3 is .115512. Gradient rho (k3 + 1 - exp(-k)):
    first token 1.349859 (.070320 + .329680)."""
    batch, now = near(old_logp=OLD)
    value, gradient = value_and_gradient(Term(KL("k3", "old"), TokenMean()), batch, now)
    assert value == pytest.approx(0.115512, abs=1e-6)
    assert float(5 * gradient[batch.trained][0]) == pytest.approx(1.349859 * 0.4, abs=1e-6)
    batch, now = near(behaviour_logp=OLD)
    assert value_and_gradient(Term(KL("k3", "behaviour"), TokenMean()), batch, now)[0] == pytest.approx(
        value, abs=1e-12
    )


def test_a_ratio_of_one_adds_the_gradient_of_the_sampling():
    """k1: the value stays, the gradient is k + 1, whose expectation is that of k2: that of the reverse KL."""
    batch, now = near()
    value, gradient = value_and_gradient(Term(KL("k1", "current"), TokenMean()), batch, now)
    assert value == pytest.approx(0.24, abs=1e-6)
    assert (5 * gradient[batch.trained]).tolist() == pytest.approx([k + 1 for k in K], abs=1e-6)


@pytest.mark.parametrize(
    ("part", "new", "value", "slope"),
    [
        # k = -2.7: k3 = exp(2.7) - 3.7 = 11.18 is clamped, and the ratio has no gradient either.
        (KL("k3", "current"), -4.0, 10, 0),
        (KL("k3", "current"), -3.9, math.exp(2.6) - 3.6, 1 - math.exp(2.6) + math.exp(2.6) - 3.6),
        (KL("k3", "current", most=20), -4.0, math.exp(2.7) - 3.7, -2.7),
        # Beyond the clamp of the log-ratio; k3 = exp(2) - 3.
        (KL("k3", "current", limit=2, most=1e38), -4.0, math.exp(2) - 3, 0),
        (KL("k1", "current", most=2), -4.0, -2, 0),
        (KL("k2", "current", most=2), -4.0, 2, 0),
        # The ratio exp(1) = pi / pi_old brings 8.96 (k = -2.5) above the clamp, exp(-1) brings 11.18 below.
        (KL("k3", "old"), -3.8, 10, 0),
        (KL("k3", "behaviour"), -4.0, math.exp(1.7) - 3.7 / math.e, -2.7 / math.e),
        (KL("k3+", "current"), -4.0, 10, -2.7),
        (KL("k3+", "behaviour"), -4.0, math.exp(1.7) - 3.7 / math.e, math.exp(1.7) - 6.4 / math.e),
    ],
)
def test_what_is_weighed_is_clamped_after(part, new, value, slope):
    """d/dlogp of rho (exp(-k) - 1 + k) is rho (1 - exp(-k) + k3) = rho k."""
    batch = batch_of([[1]], ref_logp=[[-1.3]], old_logp=[[new - 1]], behaviour_logp=[[new + 1]])
    now = {"logp": column_of(batch, [[new]])}
    found, gradient = value_and_gradient(Term(part, TokenMean()), batch, now)
    assert (found, float(gradient[1])) == pytest.approx((value, slope), abs=1e-9)


def test_reads_what_it_weighs_by():
    assert KL().reads == ("ref_logp",)
    assert KL(weigh="current").reads == ("ref_logp",)
    assert KL(weigh="old").reads == ("ref_logp", "old_logp")
    assert KL(weigh="behaviour").reads == ("ref_logp", "behaviour_logp")
