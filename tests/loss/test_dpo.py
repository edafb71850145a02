"""Example of docs/numerics.md, 19.5: S_w = -12, S_l = -15, reference -13, -14.5: h = 1 - (-.5) = 1.5."""

from dataclasses import replace

import pytest
import torch

from menon.batch import take
from menon.errors import UserError
from menon.loss import DPO
from menon.loss.aggregation import PairMean, PairMeanTokenMean
from menon.loss.pairs import pairs_of
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

# The preferred answer is the second row; sums over three and two tokens.
MASK = [[1, 1, 0], [1, 1, 1]]
NEW = [[-10, -5, 0], [-4, -5, -3]]
REF = [[-10, -4.5, 0], [-4, -5, -4]]


def pair(**changed):
    given = {"ref_logp": REF, "pair": [0, 0], "acc": [0.0, 1.0]} | changed
    return batch_of(MASK, **given)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (DPO(beta=0.1), 0.620957),  # log(1 + exp(-.15))
        (DPO(beta=0.1, label_smoothing=0.1), 0.635957),  # .9 * .620957 + .1 * (.620957 + .15)
    ],
)
def test_one_pair(loss, expected):
    batch = pair()
    now = {"logp": column_of(batch, NEW)}
    assert rows_of(batch, loss(now, batch)).tolist() == [[0, 0, 0], [0, 0, pytest.approx(expected, abs=1e-6)]]
    value, _ = value_and_gradient(Term(loss, PairMean()), batch, now)
    assert value == pytest.approx(expected, abs=1e-6)


def test_gradient():
    """d loss / d h = -beta sigmoid(-beta h) = -.1 * .462570 on each preferred token, the opposite on each
    other one."""
    batch = pair()
    _, gradient = value_and_gradient(Term(DPO(beta=0.1), PairMean()), batch, {"logp": column_of(batch, NEW)})
    assert rows_of(batch, gradient)[0].tolist() == pytest.approx([0.046257, 0.046257, 0], abs=1e-6)
    assert rows_of(batch, gradient)[1].tolist() == pytest.approx([-0.046257] * 3, abs=1e-6)


def test_pairs_apart_in_the_batch_and_a_loser():
    """Rows 0 and 2 (h = 2 - 0), rows 1 and 3 (h = 0 - 1): loss (log(1 + e^-2) + log(1 + e)) / 2 at beta 1."""
    batch = batch_of([[1]] * 4, ref_logp=[[-3], [-1], [-1], [-2]], pair=[7, 3, 7, 3], acc=[1.0, 1, 0, 0])
    now = {"logp": column_of(batch, [[-1], [-1], [-1], [-1]])}
    value, _ = value_and_gradient(Term(DPO(beta=1), PairMean()), batch, now)
    assert value == pytest.approx((0.126928 + 1.313262) / 2, abs=1e-6)
    _, metrics = loss_and_metrics(Term(DPO(beta=1), PairMean()), batch, now)
    assert {name: float(metric) for name, metric in metrics.items() if name.startswith("pairs/")} == {
        "pairs/accuracy": 0.5,
        "pairs/margin": 0.5,
        "pairs/chosen_reward": 1,
        "pairs/rejected_reward": 0.5,
        "pairs/chosen_logp": -1,
        "pairs/rejected_logp": -1,
        "pairs/dropped": 0,
    }


def test_the_mean_over_an_answer():
    """h = 1/3 + .5/2 = .583333: log(1 + exp(-.0583333)) = .664406."""
    batch = pair()
    value, gradient = value_and_gradient(
        Term(DPO(average=True), PairMean()), batch, {"logp": column_of(batch, NEW)}
    )
    assert value == pytest.approx(0.664406, abs=1e-6)
    # .1 * sigmoid(-.0583333) = .0485421 on each pair of means
    assert rows_of(batch, gradient)[0, :2].tolist() == pytest.approx([0.0485421 / 2] * 2, abs=1e-7)
    assert rows_of(batch, gradient)[1].tolist() == pytest.approx([-0.0485421 / 3] * 3, abs=1e-7)


def test_pairs_that_cannot_be_used_do_not_count():
    """The second pair has an invalid answer, the third an empty preferred one, the fourth an empty other one,
    the fifth two equal answers: the mean is over one pair, and four are counted."""
    batch = batch_of(
        [[1], [1], [1], [1], [0], [1], [1], [0], [1], [1]],
        ref_logp=[[-2], [-1], [-9], [-1], [0], [-1], [-1], [0], [-3], [-1]],
        pair=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4],
        acc=[1.0, 0] * 5,
        valid=[True, True, True, False, *[True] * 6],
    )
    token = batch.token.clone()
    token[-1] = token[-3]
    batch = replace(batch, token=token)
    now = {"logp": column_of(batch, [[-1], [-1], [-1], [-1], [0], [-1], [-1], [0], [-1], [-1]])}
    value, gradient = value_and_gradient(Term(DPO(), PairMean()), batch, now)
    assert value == pytest.approx(0.644397, abs=1e-6)  # h = 1: log(1 + e^-.1)
    assert rows_of(batch, gradient)[2:].abs().max() == 0
    _, metrics = loss_and_metrics(Term(DPO(), PairMean()), batch, now)
    assert float(metrics["pairs/dropped"]) == 4
    assert float(metrics["pairs/accuracy"]) == 1


def test_equal_answers_of_other_lengths_are_no_equal_texts():
    """The first token of both is the same, and one goes on."""
    batch = batch_of([[1, 1], [1, 0]], ref_logp=[[-1, -1], [-1, 0]], pair=[0, 0], acc=[1.0, 0])
    batch = replace(batch, token=torch.tensor([5, 6, 7, 5, 6]))
    assert [side.tolist() for side in pairs_of(batch)] == [[0], [1]]
    short = take(replace(batch, token=torch.tensor([5, 6, 7, 5, 6])), torch.tensor([1, 1]))
    same = replace(short, acc=torch.tensor([1.0, 0], dtype=torch.float64))
    assert [side.tolist() for side in pairs_of(same)] == [[], []]


def test_an_update_without_a_usable_pair_is_no_update():
    """All weights are 0, so the learner counts update/empty and moves nothing."""
    batch = batch_of([[1], [0]], ref_logp=[[-1], [0]], pair=[0, 0], acc=[1.0, 0])
    for share in (PairMean(), PairMean("prompt"), PairMeanTokenMean()):
        assert share(batch, batch.trained).abs().max() == 0


@pytest.mark.parametrize("wrong", [{"acc": [1.0, 1.0]}, {"acc": [0.0, float("nan")]}, {"pair": [0, 1]}])
def test_refuses_what_is_no_pair(wrong):
    batch = pair(**wrong)
    with pytest.raises(UserError, match="pair 0 must hold two answers"):
        DPO()({"logp": column_of(batch, NEW)}, batch)


def test_refusals():
    with pytest.raises(UserError, match=r"label_smoothing 0\.7 of DPO .* below \.5"):
        DPO(label_smoothing=0.7)
    with pytest.raises(UserError, match=r"beta of DPO is -1; .* must be positive"):
        DPO(beta=-1)
    pair_less = pair(pair=None)
    with pytest.raises(ValueError, match="preferences"):
        DPO()({"logp": column_of(pair_less, NEW)}, pair_less)
