"""Example of docs/numerics.md, 19.3: covariances .024, .084, -.276 | -.396, .144. With k = 1 the last token
pays |d| = .6: .911059 + .6 = 1.511059."""

import pytest
import torch

from menon.errors import UserError
from menon.loss import KLCov
from menon.loss.aggregation import TokenMean
from menon.loss.covariance import covariance
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of
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
