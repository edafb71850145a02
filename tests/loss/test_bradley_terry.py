"""Example of docs/numerics.md, 19.5: scores 1.3 and .4: log(1 + e^-.9) = .341154."""

import math

import pytest

from menon.errors import UserError
from menon.loss import BradleyTerry
from menon.loss.aggregation import PairMean
from menon.types import Deviation
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

MASK = [[1, 1], [1, 0]]


def pair(scores=((9, 1.3), (0.4, 0))):
    """The score of an answer is that of the state after its last token, whatever stands on others."""
    batch = batch_of(MASK, pair=[0, 0], acc=[1.0, 0.0])
    return batch, {"reward_after": column_of(batch, scores)}


@pytest.mark.parametrize(
    ("loss", "expected", "preferred", "other"),
    [
        (BradleyTerry(), 0.341154, -0.289050, 0.289050),  # sigmoid(-.9)
        (BradleyTerry(margin=0.5), 0.513015, -0.401312, 0.401312),  # log(1 + e^-.4)
        (
            BradleyTerry(centring=0.01),
            0.341154 + 0.0289,
            -0.289050 + 0.034,
            0.289050 + 0.034,
        ),  # 1.7^2, 2 * 1.7
    ],
)
def test_worked(loss, expected, preferred, other):
    batch, now = pair()
    value, gradient = value_and_gradient(Term(loss, PairMean()), batch, now)
    assert value == pytest.approx(expected, abs=1e-6)
    rows = rows_of(batch, gradient)
    assert rows[0].tolist() == pytest.approx([0, preferred], abs=1e-6)
    assert rows[1].tolist() == pytest.approx([other, 0], abs=1e-6)


def test_a_constant_on_all_scores_changes_nothing_but_the_centring():
    (batch, now), (_, higher) = pair(), pair(((0, 11.3), (10.4, 0)))
    one, two = (float(BradleyTerry()(given, batch).sum().detach()) for given in (now, higher))
    assert one == pytest.approx(two, abs=1e-12)


@pytest.mark.parametrize(("second", "accuracy"), [(0.4, 1), (1.3, 0.5), (2.0, 0)])
def test_a_tie_counts_one_half(second, accuracy):
    batch, now = pair(((9, 1.3), (second, 0)))
    _, metrics = loss_and_metrics(Term(BradleyTerry(), PairMean()), batch, now)
    assert float(metrics["pairs/accuracy"]) == accuracy
    assert float(metrics["pairs/margin"]) == pytest.approx(1.3 - second)
    assert float(metrics["pairs/chosen_reward"]) == pytest.approx(1.3)
    assert float(metrics["pairs/rejected_reward"]) == second
    expected = 1 / (1 + math.exp(-abs(1.3 - second)))  # what a margin of that size says of the accuracy
    assert float(metrics["pairs/expected_accuracy"]) == pytest.approx(expected)
    assert "pairs/chosen_logp" not in metrics


def test_each_prompt_weighs_the_same():
    """Three pairs of one prompt and one of another: 1/6 each, and 1/2. A pair that cannot be used takes no
    part."""
    batch = batch_of(
        [[1]] * 9 + [[0]],
        group=[4] * 6 + [2] * 4,
        pair=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4],
        acc=[1.0, 0.0] * 5,
    )
    weight = rows_of(batch, PairMean("prompt")(batch, batch.trained))[:, 0]
    assert weight.tolist() == pytest.approx([1 / 6] * 6 + [1 / 2] * 2 + [0] * 2)
    assert rows_of(batch, PairMean()(batch, batch.trained))[:8, 0].tolist() == [0.25] * 8


def test_refusals():
    with pytest.raises(UserError, match=r"margin -1 and centring 0\.0 of BradleyTerry must be 0 or more"):
        BradleyTerry(margin=-1)


def test_the_deviation_of_preferred_scores():
    """1 and 4 are 1.5 from their mean of 2.5; over no pair it is 0."""
    scores = [[1, 0], [0.5, 0], [4, 0], [9, 0]]
    batch = batch_of([[1, 0]] * 4, pair=[0, 0, 1, 1], acc=[1.0, 0.0] * 2)
    _, metrics = loss_and_metrics(
        Term(BradleyTerry(), PairMean()), batch, {"reward_after": column_of(batch, scores)}
    )
    assert float(metrics["pairs/chosen_reward"]) == 2.5
    assert float(metrics["pairs/chosen_deviation"]) == pytest.approx(1.5)
    assert float(Deviation(0.0, 0.0, 0)) == 0
