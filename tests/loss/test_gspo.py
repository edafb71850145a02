"""Example of docs/numerics.md, 19.3: mean log-ratios (.3 - .1 + .8) / 3 = 1/3 and (-.1 + .6) / 2 = .25; s =
1.395612, 1.284025."""

import math

import pytest
import torch

from menon import ragged
from menon.loss import GSPO, GSPOToken
from menon.loss.aggregation import SequenceMean, SequenceMeanTokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

LN = math.log(1.5)
MASK = [[1, 1, 1], [1, 1, 0]]
OLD = [[-1, -0.5, -2], [-0.2, -1.5, 0]]
NEW = [[-0.7, -0.6, -1.2], [-0.3, -0.9, 0]]
ADVANTAGE = [[1, 1, 1], [-0.5, -0.5, 0]]


def batch():
    return batch_of(MASK, old_logp=OLD, advantage=ADVANTAGE)


def test_one_number_per_sequence_on_its_last_action_token():
    """A = 1: -min(1.395612, 1.0004); A = -.5: .5 * 1.284025."""
    loss = GSPO()({"logp": column_of(batch(), NEW)}, batch())
    assert rows_of(batch(), loss)[0].tolist() == pytest.approx([0, 0, -1.0004], abs=1e-6)
    assert rows_of(batch(), loss)[1].tolist() == pytest.approx([0, 0.642013, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "expected"), [(GSPO(), -0.179194), (GSPO(clip_low=0.2, clip_high=0.2), -0.278994)]
)
def test_whole_loss(loss, expected):
    value, _ = value_and_gradient(Term(loss, SequenceMean()), batch(), {"logp": column_of(batch(), NEW)})
    assert value == pytest.approx(expected, abs=1e-6)


def test_gradient():
    """The first is held; the second: 1/2 sequences * .5 * 1.284025 * 1/2 tokens = .160503 on each token."""
    _, gradient = value_and_gradient(Term(GSPO(), SequenceMean()), batch(), {"logp": column_of(batch(), NEW)})
    assert rows_of(batch(), gradient)[0].tolist() == [0, 0, 0]
    assert rows_of(batch(), gradient)[1].tolist() == pytest.approx([0.160503, 0.160503, 0], abs=1e-6)


class TokenForm:
    """The token form (docs/numerics.md, 7.6) as the papers' implementations write it: s_it = sg(s_i)
    pi_t / sg(pi_t), a loss on every token."""

    unit, needs, reads = "sequence", ("logp",), ("advantage", "old_logp")

    def __init__(self, low, high):
        self.low, self.high = low, high

    def __call__(self, now, batch):
        logp = torch.where(batch.trained, now["logp"], 0)
        change = torch.where(batch.trained, now["logp"] - batch.old_logp, 0).detach()
        mean = ragged.sequence_sum(change, batch.offset) / batch.action_lengths.clamp(min=1)
        ratio = (ragged.spread(mean, batch.offset) + logp - logp.detach()).clamp(max=10).exp()
        advantage = torch.where(batch.trained, batch.advantage, 0)
        return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - self.low, 1 + self.high))

    def metrics(self, now, batch):
        return {}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clip", [(3e-4, 4e-4), (0.2, 0.28)])
def test_value_and_gradient_equal_the_token_form(seed, clip):
    """Twelve answers of 0 to 7 tokens with gaps; ratios on both sides of both bounds."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(12, 7, generator=generator) < 0.8) & (
        torch.arange(7) < torch.randint(0, 8, (12, 1), generator=generator)
    )
    advantage = torch.randn(12, 1, generator=generator).expand(12, 7)
    old = -torch.rand(12, 7, generator=generator, dtype=torch.float64)
    new = old + 0.4 * torch.randn(12, 7, generator=generator, dtype=torch.float64)
    many = batch_of(mask.long(), advantage=advantage, old_logp=old)
    now = {"logp": column_of(many, new)}
    value, gradient = value_and_gradient(Term(GSPO(*clip), SequenceMean()), many, now)
    expected, expected_gradient = value_and_gradient(
        Term(TokenForm(*clip), SequenceMeanTokenMean()), many, now
    )
    assert value == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-14)
    assert int((gradient != 0).sum()) > 3


@pytest.mark.parametrize(
    ("advantage", "change", "bound", "expected", "slope"),
    [
        ([3, 0], [0, 0], None, -1.5, [-0.75, -0.75]),  # the mean advantage is 1.5, s' = 1/2 for each token
        ([0, 3], [0, 0], None, -1.5, [-0.75, -0.75]),
        ([1, -1], [LN, LN], None, 0.15, [0.375, 0.375]),  # (-1.2 + 1.5) / 2; the second alone: 1.5 / 2 / 2
        ([1, -1], [-LN, -LN], None, 0.066667, [-1 / 6, -1 / 6]),  # (-2/3 + .8) / 2; the first: -(2/3) / 4
        ([2, -2], [4 * LN, 0], None, 1.05, [1.125, 1.125]),  # s = 2.25: (-2.4 + 4.5) / 2
        ([2, -2], [4 * LN, 0], 2, 0.8, [0, 0]),  # the second at most 4: (-2.4 + 4) / 2
    ],
)
def test_advantages_that_vary_within_an_answer(advantage, change, bound, expected, slope):
    """Every token's advantage counts, and the bound that holds depends on its sign."""
    two = batch_of([[1, 1]], old_logp=[[-1 - change[0], -1 - change[1]]], advantage=[advantage])
    term = Term(GSPO(0.2, 0.2, bound=bound), SequenceMean())
    now = {"logp": column_of(two, [[-1, -1]])}
    value, gradient = value_and_gradient(term, two, now)
    assert value == pytest.approx(expected, abs=1e-6)
    assert rows_of(two, gradient)[0].tolist() == pytest.approx(slope, abs=1e-6)
    by_token = Term(GSPOToken(0.2, 0.2, bound=bound), SequenceMeanTokenMean())
    assert value_and_gradient(by_token, two, now)[0] == pytest.approx(value, abs=1e-12)


def test_metrics_of_an_answer_that_is_clipped_in_part():
    """s = 1.5: the bound holds one of two tokens, and A = 0 is none of them."""
    some = batch_of([[1, 1], [1, 1]], old_logp=[[-1, -1]] * 2, advantage=[[1, -1], [0, 1]])
    now = {"logp": column_of(some, [[LN - 1, LN - 1], [-1, -1]])}
    _, metrics = loss_and_metrics(Term(GSPO(0.2, 0.2), SequenceMean()), some, now)
    found = [float(metrics[f"{name}"]) for name in ("clip/frac", "clip/low", "clip/high", "ratio/mean")]
    assert found == pytest.approx([0.25, 0, 0.25, 1.25])


def test_metrics_are_over_sequences():
    _, metrics = loss_and_metrics(Term(GSPO(), SequenceMean()), batch(), {"logp": column_of(batch(), NEW)})
    assert float(metrics["clip/high"]) == 0.5
    assert float(metrics["clip/low"]) == 0
    assert float(metrics["ratio/mean"]) == pytest.approx((1.395612 + 1.284025) / 2, abs=1e-6)
    assert float(metrics["ratio/max"]) == pytest.approx(1.395612, abs=1e-6)


def test_empty_answer_has_no_number_and_no_weight():
    """One of two answers is empty: the loss is the other's number alone."""
    one = batch_of([[1, 1], [0, 0]], old_logp=[[-1, -1], [0, 0]], advantage=[[1, 1], [1, 1]])
    value, _ = value_and_gradient(
        Term(GSPO(0.2, 0.2), SequenceMean()), one, {"logp": column_of(one, [[-0.9, -1], [0, 0]])}
    )
    assert value == pytest.approx(-1.051271, abs=1e-6)  # exp(.05)


def test_product_of_ratios():
    """Sums 1.0 and .5: s = 2.718282 and 1.648721. Clip .2: -1.2 and .5 * 1.648721; gradient of the second 1/2
    * .824361."""
    term = Term(GSPO(0.2, 0.2, ratio="product"), SequenceMean())
    value, gradient = value_and_gradient(term, batch(), {"logp": column_of(batch(), NEW)})
    assert value == pytest.approx((-1.2 + 0.824361) / 2, abs=1e-6)
    assert rows_of(batch(), gradient)[1].tolist() == pytest.approx([0.412180, 0.412180, 0], abs=1e-6)
