from dataclasses import replace

import pytest
import torch

from batches import random_batch
from menon.batch import Batch
from menon.errors import UserError
from menon.study.covariance import direction, of_step


def batch() -> Batch:
    """Three answers of two tokens after no prompt; the last one's grader failed."""
    return Batch(
        offset=torch.tensor([0, 2, 4, 6]),
        token=torch.zeros(6, dtype=torch.int64),
        is_action=torch.ones(6, dtype=torch.bool),
        reward=torch.zeros(6),
        group=torch.tensor([0, 1, 1]),
        finish=torch.zeros(3, dtype=torch.int64),
        valid=torch.tensor([True, True, False]),
        acc=torch.zeros(3),
        behaviour_logp=torch.tensor([-1.0, -3.0, -2.0, -2.0, -9.0, -9.0]),
        old_logp=torch.tensor([torch.nan, torch.nan, -4.0, -2.0, torch.nan, torch.nan]),
        advantage=torch.tensor([1.0, 1.0, -1.0, 3.0, 99.0, 99.0]),
    )


def test_by_hand():
    """log-probs -1 -3 -4 -2 (mean -2.5), advantages 1 1 -1 3 (mean 1): products 0, 0, (-1.5)(-2) = 3, (.5)(2)
    = 1.

    Inside the groups: 0 (equal advantages), and log-probs +-1 with advantages +-2: 2.
    """
    got = of_step(batch())
    assert got == {"mean": 1, "top002": 3, "top02": 3, "top2": 3, "top20": 3, "top50": 2, "group": 1}


def test_an_impossible_token_is_in_no_mean():
    impossible = torch.tensor([-1.0, -torch.inf, -4.0, -2.0, 0, 0])
    got = of_step(replace(batch(), old_logp=None, behaviour_logp=impossible))
    # log-probs -1 -4 -2 (mean -7/3), advantages 1 -1 3 (mean 1): 0 + 10/3 + 2/3
    assert got["mean"] == pytest.approx(4 / 3)


def test_the_cut_of_a_batch_is_not_a_group():
    whole = random_batch()
    whole = replace(whole, behaviour_logp=-whole.entropy)
    one = replace(whole, group=torch.zeros_like(whole.group))
    assert of_step(one)["group"] == pytest.approx(of_step(one)["mean"])


def test_nothing_trained_is_zero():
    nobody = replace(batch(), valid=torch.zeros(3, dtype=torch.bool))
    assert set(of_step(nobody).values()) == {0.0}


def test_direction():
    """Changes -3, -1, -2 with covariances 3, 1, 2 are one line; the last step's covariance has no change
    yet."""
    assert direction([6, 3, 2, 0], [3, 1, 2, 50]) == pytest.approx(-1)
    assert direction([0, 3, 4, 6], [3, 1, 2, -9]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("entropy", "covariance", "sentence"),
    [([1, 2, 3], [1, 2, 3], "needs 4 steps"), ([1, 2, 3, 4], [1, 2, 3, 4], "is constant")],
)
def test_no_direction(entropy, covariance, sentence):
    with pytest.raises(UserError, match=sentence):
        direction(entropy, covariance)


def test_without_advantages():
    with pytest.raises(UserError, match="no advantages"):
        of_step(replace(batch(), advantage=None))
    with pytest.raises(UserError, match="no log-probs"):
        of_step(replace(batch(), old_logp=None, behaviour_logp=None))
