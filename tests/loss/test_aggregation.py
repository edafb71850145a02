"""Weights by hand: answers of 3 and 1 tokens to prompt 5, of 2 tokens to prompt 6, an empty one and a failed
one."""

import pytest

from menon.errors import UserError
from menon.loss import GSPO, GSPOToken
from menon.loss.aggregation import (
    Constant,
    PairMean,
    PairMeanTokenMean,
    PromptMean,
    SelectedMean,
    SequenceLengthMean,
    SequenceMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.select import Correct
from menon.update.terms import Term
from rows import batch_of, column_of, rows_of, value_and_gradient

MASK = [[1, 1, 1], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]]
VALID = [True, True, True, True, False]
GROUP = [5, 5, 6, 7, 7]
SELECTED = [[1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("share", "rows"),
    [
        (TokenMean(), [1 / 6, 1 / 6, 1 / 6]),
        (SelectedMean(), [1 / 4, 1 / 4, 1 / 4]),
        (SequenceMeanTokenMean(), [1 / 9, 1 / 3, 1 / 6]),
        (SequenceMean(), [1 / 3, 1 / 3, 1 / 3]),
        (SequenceLengthMean(), [3 / 3, 1 / 3, 2 / 3]),
        (Constant(10), [1 / 30, 1 / 30, 1 / 30]),
        (PromptMean(), [1 / 8, 1 / 8, 1 / 4]),
    ],
)
def test_weights_of_the_selected_tokens(share, rows):
    batch = batch_of(MASK, valid=VALID, group=GROUP)
    selected = (batch_of(MASK, ret=SELECTED).ret == 1) & batch.trained
    expected = [
        [chosen * weight for chosen in row] for row, weight in zip(SELECTED, [*rows, 0, 0], strict=True)
    ]
    assert rows_of(batch, share(batch, selected)).tolist() == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize("share", [TokenMean(), SequenceMeanTokenMean(), PromptMean()])
def test_a_mean_of_ones_is_one(share):
    batch = batch_of(MASK, valid=VALID, group=GROUP)
    assert float(share(batch, batch.trained).sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    "share",
    [
        *(TokenMean(), SelectedMean(), SequenceMeanTokenMean(), SequenceMean(), SequenceLengthMean()),
        *(Constant(3), PromptMean()),
    ],
)
def test_nothing_trained_weighs_nothing(share):
    batch = batch_of([[0, 0], [0, 0]])
    assert share(batch, batch.trained).tolist() == [0, 0]


def test_pairs():
    """Two pairs; a third whose loser's grader failed is not counted."""
    batch = batch_of(
        [[1, 1]] * 6, pair=[0, 1, 0, 1, 2, 2], acc=[1.0, 0, 0, 1, 1, 0], valid=[True] * 5 + [False]
    )
    weight = rows_of(batch, PairMean()(batch, batch.trained))
    assert weight.tolist() == [[0.5, 0.5]] * 4 + [[0, 0]] * 2


def test_means_over_the_answers_of_pairs():
    """The preferred answers have 3 and 2 tokens: 1 / (2 * 3) and 1 / (2 * 2)."""
    batch = batch_of([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 1, 1]], pair=[0, 0, 1, 1], acc=[1.0, 0, 0, 1])
    weight = rows_of(batch, PairMeanTokenMean()(batch, Correct()(batch)))
    assert weight.tolist() == [
        pytest.approx(row) for row in [[1 / 6] * 3, [0] * 3, [0] * 3, [0, 1 / 4, 1 / 4]]
    ]


def test_refuses_a_length_of_zero():
    with pytest.raises(UserError, match="length of the Constant share is 0"):
        Constant(0)


def test_an_answers_number_times_its_tokens():
    """LUSPO: two answers of 3 and 1 tokens, A = 2 and -1, on-policy. Its loss is (3 * -2 + 1 * 1) / 2, and
    the gradient on every token is -A / 2: that of the loss per token with its sums. GSPO's is divided by 3
    and 1."""
    batch = batch_of([[1, 1, 1], [1, 0, 0]], advantage=[[2, 2, 2], [-1, 0, 0]])
    logp = column_of(batch, [[-1, -2, -3], [-4, 0, 0]])
    luspo = value_and_gradient(Term(GSPO(), SequenceLengthMean()), batch, {"logp": logp})
    assert luspo[0] == pytest.approx(-2.5)
    assert luspo[1][batch.is_action].tolist() == pytest.approx([-1, -1, -1, 0.5])
    by_token = value_and_gradient(Term(GSPOToken(), SequenceMean()), batch, {"logp": logp})
    assert by_token[0] == pytest.approx(-2.5)
    assert by_token[1].tolist() == pytest.approx(luspo[1].tolist())
    gspo = value_and_gradient(Term(GSPO(), SequenceMean()), batch, {"logp": logp})
    assert gspo[1][batch.is_action].tolist() == pytest.approx([-1 / 3] * 3 + [0.5])
