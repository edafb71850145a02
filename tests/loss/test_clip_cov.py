"""Example of docs/numerics.md, 19.3; covariances .024, .084, -.276 | -.396, .144."""

from dataclasses import replace

import pytest
import torch

from batches import random_batch
from menon.batch import take
from menon.errors import UserError
from menon.loss import ClipCov, PPOClip
from menon.loss.aggregation import TokenMean
from menon.loss.covariance import draws
from menon.update.terms import Term
from rows import column_of, loss_and_metrics
from worked import NEW, update, worked


def of(**settings):
    return Term(ClipCov(**({"low": 0.01, "clip_low": 0.2, "clip_high": 0.2} | settings)), TokenMean())


def test_both_candidates_are_dropped_and_stay_in_the_denominator():
    """Above .01: token 1 and the last, which PPO does not clip. floor(.4 * 5) = 2: left are -1.2, -1.2 and
    .452419."""
    value, gradient = update(of(fraction=0.4), worked())
    assert value == pytest.approx((-1.2 - 1.2 + 0.452419) / 5, abs=1e-6)
    assert gradient == pytest.approx([0, 0, 0, 0.452419 / 5, 0], abs=1e-6)


def test_clipped_tokens_are_no_candidates():
    """low = -1 would make candidates of all five; tokens 0 and 2 are clipped. Three remain, all dropped by
    fraction 1."""
    value, _ = update(of(fraction=1.0, low=-1.0), worked())
    assert value == pytest.approx(-2.4 / 5, abs=1e-6)


def test_one_of_two_is_drawn():
    """Over many seeds either; which one, the seed says."""
    values = [update(of(fraction=0.2, seed=seed), worked())[0] for seed in range(40)]
    one, other = (-2.4 + 0.452419 + 0.911059) / 5, (-2.4 - 0.904837 + 0.452419) / 5
    assert {round(v, 5) for v in values} == {round(one, 5), round(other, 5)}
    assert 8 < sum(abs(v - one) < 1e-5 for v in values) < 32
    assert values == [update(of(fraction=0.2, seed=seed), worked())[0] for seed in range(40)]


def test_a_draw_belongs_to_its_token():
    """Another order of the sequences, other neighbours: the same number. Another version of the writer:
    another one."""
    batch = random_batch()
    whole = draws(batch, 0, "x").split(batch.lengths.tolist())
    some = take(batch, torch.tensor([7, 2]))
    assert torch.equal(draws(some, 0, "x"), torch.cat([whole[7], whole[2]]))
    versions = replace(batch, version=torch.ones_like(batch.token))
    assert not torch.equal(draws(versions, 0, "x"), draws(batch, 0, "x"))
    assert not torch.equal(draws(batch, 1, "x"), draws(batch, 0, "x"))
    assert not torch.equal(draws(batch, 0, "y"), draws(batch, 0, "x"))
    assert 0.3 < float(draws(batch, 0, "x").mean()) < 0.7


def test_no_candidates_is_ppo():
    assert update(of(low=3.0, high=5.0), worked()) == update(Term(PPOClip(), TokenMean()), worked())


def test_metric():
    _, metrics = loss_and_metrics(of(fraction=0.4), worked(), {"logp": column_of(worked(), NEW)})
    assert float(metrics["cov/dropped"]) == pytest.approx(0.4)


def test_refuses_bounds_in_the_wrong_order():
    with pytest.raises(UserError, match="low 5 below high 1"):
        ClipCov(low=5, high=1)
