"""Example of docs/numerics.md, 19.3: covariances .024, .084, -.276 | -.396, .144. With k = 1 the last token
pays |d| = .6: .911059 + .6 = 1.511059."""

from dataclasses import replace

import pytest
import torch

from menon.batch import take
from menon.errors import UserError
from menon.loss import KLCov
from menon.loss.aggregation import TokenMean
from menon.loss.covariance import covariance
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient
from worked import NEW, update, worked


def test_covariances():
    """mean A = .4, mean log pi = -.74: .6 * .04, .6 * .14, .6 * -.46 | -.9 * .44, -.9 * -.16."""
    cov = rows_of(worked(), covariance(column_of(worked(), NEW).detach(), worked(), None))
    assert cov[0].tolist() == pytest.approx([0.024, 0.084, -0.276], abs=1e-12)
    assert cov[1, :2].tolist() == pytest.approx([-0.396, 0.144], abs=1e-12)


def test_one_token_pays():
    """The last has the largest covariance."""
    value, gradient = update(Term(KLCov(fraction=0.2), TokenMean()), worked())
    assert value == pytest.approx(-0.503352, abs=1e-6)
    expected = [-1.349859, -0.904837, -2.225541, 0.452419, 0.911059 + 1]
    assert gradient == pytest.approx([number / 5 for number in expected], abs=1e-6)


def test_old_statistics_choose_by_the_old_policy():
    """Its log-probs have mean -.86; .6 * .76 = .456 is the largest, of token 1, which pays |d| = .5; else the
    last pays .1. Without: -exp(.3), -exp(-.5), -exp(.8), .5 exp(-.1), .5 exp(.1)."""
    batch = worked(old_logp=[[-1, -0.1, -2], [-0.2, -1, 0]])
    plain = -1.349859 - 0.606531 - 2.225541 + 0.452419 + 0.552585
    for statistics, paid in (("old", 0.5), ("current", 0.1)):
        value, _ = update(Term(KLCov(fraction=0.2, statistics=statistics), TokenMean()), batch)
        assert value == pytest.approx((plain + paid) / 5, abs=1e-6)


def test_at_least_one_and_the_metric():
    """floor(.1 * 5) = 0 becomes 1; floor(.59 * 5) = 2."""
    now = {"logp": column_of(worked(), NEW)}
    for fraction, share in ((0.1, 0.2), (0.59, 0.4)):
        _, metrics = loss_and_metrics(Term(KLCov(fraction=fraction), TokenMean()), worked(), now)
        assert float(metrics["cov/penalised"]) == pytest.approx(share)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75, 1.0])
def test_as_many_pay_as_the_fraction_says_where_covariances_are_equal(fraction):
    """A = 0 everywhere, so all covariances are 0; each of the k that pay pays .1 / 4. In any order of the
    sequences the same ones pay."""
    new = torch.tensor([[-1, -0.5], [-2, -0.2]])
    batch = batch_of([[1, 1]] * 2, old_logp=new - 0.1, advantage=[[0, 0]] * 2)
    batch = replace(batch, token=torch.arange(batch.num_tokens))
    term = Term(KLCov(fraction=fraction), TokenMean())
    value, gradient = value_and_gradient(term, batch, {"logp": column_of(batch, new)})
    assert value == pytest.approx(fraction * 0.1)
    turned = take(batch, torch.tensor([1, 0]))
    _, other = value_and_gradient(term, turned, {"logp": column_of(turned, new.flip(0))})
    assert rows_of(turned, other).flip(0).tolist() == rows_of(batch, gradient).tolist()


def test_an_impossible_token_never_pays():
    batch = batch_of([[1, 1]], old_logp=[[-1, -1]], advantage=[[1, 2]])
    now = {"logp": column_of(batch, [[-0.9, -torch.inf]])}
    _, metrics = loss_and_metrics(Term(KLCov(fraction=1.0), TokenMean()), batch, now)
    assert float(metrics["cov/penalised"]) == 0.5


def test_untrained_and_impossible_tokens_are_in_no_statistic():
    batch = batch_of(
        [[1, 0, 1, 1], [1, 0, 0, 0]],
        lengths=[4, 1],
        valid=[True, False],
        advantage=[[1, 9, 3, 5], [9, 0, 0, 0]],
    )
    logp = torch.tensor([0, -1, 0, -3, -torch.inf, 0, 0], dtype=torch.float64)
    # Two tokens count: mean A = 2, mean log pi = -2, both products are (-1)(1) = (1)(-1) = -1.
    assert covariance(logp, batch, None)[[1, 3]].tolist() == [-1, -1]
    assert covariance(logp, batch, None)[[0, 2, 4, 5, 6]].tolist() == [-torch.inf] * 5


def test_refuses_a_fraction_of_zero():
    with pytest.raises(UserError, match="fraction 0 of KLCov"):
        KLCov(fraction=0)
