"""Example of docs/numerics.md, 19.3: s = 1.395612, 1.284025 on each token of a sequence; its equality with
GSPO is in test_gspo.py."""

import pytest
import torch

from menon.loss import GSPO, GSPOToken
from menon.loss.aggregation import SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.update.terms import Term
from rows import batch_of, column_of, value_and_gradient
from worked import tokens, update, worked


def test_per_token():
    assert tokens(GSPOToken(), worked()) == pytest.approx([-1.0004] * 3 + [0.642013] * 2, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "share", "expected"),
    [
        (GSPOToken(), TokenMean(), -0.343435),
        (GSPOToken(), SequenceMeanTokenMean(), -0.179194),
        (GSPOToken(), SequenceMean(), -0.858587),
        (GSPOToken(0.2, 0.2), SequenceMeanTokenMean(), -0.278994),
    ],
)
def test_whole_loss(loss, share, expected):
    assert update(Term(loss, share), worked())[0] == pytest.approx(expected, abs=1e-6)


def test_advantages_that_vary_within_an_answer():
    """A = -1, -2, 0 in the first: each token's gradient is -A s / 5, here nothing is held from below."""
    batch = worked(advantage=[[-1, -2, 0], [-0.5, -0.5, 0]])
    _, gradient = update(Term(GSPOToken(), TokenMean()), batch)
    assert gradient == pytest.approx(
        [1.395612 / 5, 2 * 1.395612 / 5, 0, 0.642013 / 5, 0.642013 / 5], abs=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_with_one_advantage_per_answer_it_is_gspo(seed):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(8, 6, generator=generator) < 0.7
    old = -torch.rand(8, 6, generator=generator, dtype=torch.float64)
    new = old + 0.4 * torch.randn(8, 6, generator=generator, dtype=torch.float64)
    batch = batch_of(mask.long(), advantage=torch.randn(8, 1, generator=generator).expand(8, 6), old_logp=old)
    now = {"logp": column_of(batch, new)}
    value, gradient = value_and_gradient(Term(GSPOToken(0.1, 0.2), SequenceMeanTokenMean()), batch, now)
    expected, expected_gradient = value_and_gradient(Term(GSPO(0.1, 0.2), SequenceMean()), batch, now)
    assert value == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-14)
