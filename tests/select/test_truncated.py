from menon.loss import NLL
from menon.loss.aggregation import SelectedMean
from menon.select import NotTruncated
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of


def test_drops_answers_at_the_limit():
    """Aborted ones are the collector's affair; a failed grader's answer is never trained."""
    batch = batch_of(
        [[1, 1], [1, 0], [1, 1], [1, 0]],
        finish=["stop", "length", "abort", "stop"],
        valid=[True, True, True, False],
    )
    assert rows_of(batch, NotTruncated()(batch).double()).tolist() == [[1, 1], [0, 0], [1, 1], [0, 0]]


def test_in_a_term():
    """-(-1 - 2) / 2: the truncated answer is in neither sum nor denominator."""
    batch = batch_of([[1, 1], [1, 1]], finish=["stop", "length"])
    term = Term(NLL(), SelectedMean(), NotTruncated())
    loss, _ = loss_and_metrics(term, batch, {"logp": column_of(batch, [[-1, -2], [-30, -40]])})
    assert float(loss.detach()) == 1.5
