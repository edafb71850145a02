"""Example of docs/numerics.md, 19.4: of ten entropies at fraction .2, k = 2: the tokens with 2 and 1.1."""

import pytest
import torch

from menon.errors import UserError
from menon.loss import NLL
from menon.loss.aggregation import SelectedMean, TokenMean
from menon.select import TopEntropy
from menon.update.objective import prepare
from menon.update.terms import MiniBatch, Term, Update
from rows import Known, batch_of, column_of, loss_and_metrics, rows_of

H = [0.01, 0.9, 0.3, 2, 0.05, 0.6, 0.02, 1.1, 0.4, 0.001]


def chosen(select, batch, now=None):
    term = Term(NLL(), TokenMean(), select)
    part = MiniBatch(Update({"term": term}), torch.arange(batch.num_sequences), first=now is None)
    job = prepare(part, batch, Known(now or {}))
    return rows_of(job.batch, (job.terms["term"].weight > 0).double())


def test_over_the_whole_update():
    """The ten tokens lie in two answers: one threshold for both, 1.1."""
    batch = batch_of([[1] * 5, [1] * 5], entropy=[H[:5], H[5:]])
    assert chosen(TopEntropy(), batch).tolist() == [[0, 0, 0, 1, 0], [0, 0, 1, 0, 0]]


def test_k_is_rounded_up():
    """.2 of 6 tokens is 1.2: two tokens."""
    batch = batch_of([[1] * 6], entropy=[[1, 2, 3, 4, 5, 6]])
    assert chosen(TopEntropy(), batch).tolist() == [[0, 0, 0, 0, 1, 1]]


def test_ties_stay():
    batch = batch_of([[1] * 5], entropy=[[1, 3, 3, 3, 0]])
    assert chosen(TopEntropy(fraction=0.4), batch).tolist() == [[0, 1, 1, 1, 0]]
    assert chosen(TopEntropy(), batch_of([[1] * 5], entropy=[[2] * 5])).tolist() == [[1] * 5]


def test_untrained_tokens_are_in_no_statistic():
    """The observation's 9 and the failed answer's 8 are not the largest; N is 4, k = 1 at .25."""
    batch = batch_of([[1, 0, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0]], lengths=[4, 1, 1], valid=[True, True, False])
    entropy = torch.tensor([9, 1, 9, 3, 2, 9, 0.5, 9, 8.0], dtype=torch.float64)
    columns = TopEntropy(fraction=0.25).prepare(batch, lambda *needs: {"entropy": entropy})
    assert columns["top_entropy"].nonzero()[:, 0].tolist() == [3]


def test_current_asks_the_policy_as_it_is_now():
    """In a later update the policy's own entropies count, not those of the batch."""
    batch = batch_of([[1, 1, 1]], entropy=[[3, 2, 1]])
    now = {"entropy": column_of(batch, [[1, 2, 3]])}
    assert chosen(TopEntropy(), batch, now).tolist() == [[0, 0, 1]]
    assert chosen(TopEntropy(statistics="old"), batch, now).tolist() == [[1, 0, 0]]
    assert (TopEntropy().reads, TopEntropy(statistics="old").reads) == ((), ("old_entropy",))


@pytest.mark.parametrize(("share", "expected"), [(SelectedMean(), 3.0), (TokenMean(), 0.6)])
def test_the_share_decides_the_denominator(share, expected):
    """One of five tokens is kept, with a loss of 3."""
    batch = batch_of([[1] * 5], entropy=[[0, 0, 1, 0, 0]])
    term = Term(NLL(), share, TopEntropy())
    loss, _ = loss_and_metrics(term, batch, {"logp": column_of(batch, [[-1, -2, -3, -4, -5]])}, first=True)
    assert float(loss.detach()) == pytest.approx(expected)


def test_nothing_trained_selects_nothing():
    batch = batch_of([[0]], entropy=[[0]])
    assert float(chosen(TopEntropy(), batch).sum()) == 0


def test_refuses_a_fraction_of_zero():
    with pytest.raises(UserError, match="fraction of TopEntropy is 0"):
        TopEntropy(fraction=0)


def test_the_opposite_for_the_ablation():
    """Of ten, the two of least entropy: .001 and .01."""
    batch = batch_of([[1] * 5, [1] * 5], entropy=[H[:5], H[5:]])
    assert chosen(TopEntropy(keep="bottom"), batch).tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
