import pytest

from menon.loss import NLL
from menon.loss.aggregation import SelectedMean
from menon.select import Correct
from menon.update.terms import Term
from rows import batch_of, column_of, value_and_gradient

MASK, LOGP = [[1, 1], [1, 0], [1, 1]], [[-1, -3], [-5, 0], [-7, -7]]


def test_mean_over_the_tokens_of_correct_answers():
    """The first answer alone: (1 + 3) / 2; the second is wrong, the third unknown."""
    batch = batch_of(MASK, acc=[1, 0, float("nan")])
    value, gradient = value_and_gradient(
        Term(NLL(), SelectedMean(), Correct()), batch, {"logp": column_of(batch, LOGP)}
    )
    assert value == pytest.approx(2)
    assert gradient[batch.is_action].tolist() == [-0.5, -0.5, 0, 0, 0]


def test_no_correct_answer_is_a_term_of_zero():
    batch = batch_of(MASK, acc=[0, 0, 1], valid=[True, True, False])
    value, gradient = value_and_gradient(
        Term(NLL(), SelectedMean(), Correct()), batch, {"logp": column_of(batch, LOGP)}
    )
    assert value == 0
    assert gradient.abs().sum() == 0
