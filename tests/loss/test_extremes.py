"""What no loss may do: give a NaN gradient at extreme log-probs, or let an untrained token in."""

import math

import pytest
import torch

from menon.loss import CISPO, DPO, GSPO, KL, NLL, EntropyBonus, ExactKL, PolicyGradient, PPOClip, ValueLoss
from menon.loss.share import PairMean, SequenceMean, TokenMean
from menon.update.objective import Term
from rows import batch_of, column_of, loss_and_metrics

LOSSES = [
    PolicyGradient(),
    PPOClip(),
    CISPO(),
    GSPO(),
    KL("k1"),
    KL("abs"),
    KL("k2"),
    KL("k3"),
    NLL(),
    DPO(),
    EntropyBonus(),
    ExactKL(),
    ValueLoss(),
    ValueLoss(clip=0.2),
]
MASK = [[1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]
SHARES = {"token": TokenMean(), "sequence": SequenceMean(), "pair": PairMean()}


def name(loss):
    return f"{loss.kind}-{getattr(loss, 'estimator', '')}{getattr(loss, 'clip', '')}"


def case(loss, scale, sign, dtype=torch.float32):
    ramp = torch.arange(12.0).view(3, 4) / 12
    pairs = {"pair": [0, 0], "acc": [1.0, 0.0]} if loss.unit == "pair" else {}
    rows = slice(0, 2) if pairs else slice(0, 3)
    valid = [True, True] if pairs else [True, True, False]
    columns = dict.fromkeys(("old_logp", "ref_logp", "value", "ret"), (ramp - 1)[rows])
    batch = batch_of(MASK[rows], valid=valid, dtype=dtype, advantage=(ramp - 0.5)[rows], **columns, **pairs)
    (need,) = loss.needs
    return batch, {need if isinstance(need, str) else need.name: column_of(batch, sign * scale * (ramp[rows] + 0.5), dtype)}


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [1, 30, 1e4])
@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_finite_and_nothing_leaks(loss, scale, sign):
    """Columns hold NaN on prompts, observations and a failed answer: losses, gradients and metrics stay finite there and 0."""
    batch, now = case(loss, scale, sign)
    total, metrics = loss_and_metrics(Term(loss, SHARES[loss.unit]), batch, now)
    (leaf,) = now.values()
    (gradient,) = torch.autograd.grad(total, leaf)
    assert torch.isfinite(total)
    assert loss(now, batch)[~batch.trained].tolist() == [0] * int((~batch.trained).sum())
    assert torch.isfinite(gradient).all()
    assert gradient[~batch.trained].abs().max() == 0
    assert all(math.isfinite(float(metric)) for metric in metrics.values()), metrics
    if scale == 1:
        assert gradient[batch.trained].abs().max() > 0


@pytest.mark.parametrize("loss", [PPOClip(), GSPO(), KL("k3"), DPO()], ids=name)
def test_a_token_of_probability_zero_gives_no_nan(loss):
    batch, now = case(loss, 1, -1)
    (leaf,) = now.values()
    with torch.no_grad():
        leaf[1] = -math.inf
    total, _ = loss_and_metrics(Term(loss, SHARES[loss.unit]), batch, now)
    (gradient,) = torch.autograd.grad(total, leaf)
    assert not gradient.isnan().any()


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_nothing_trained_gives_zero(loss):
    columns = {key: [[0], [0]] for key in ("old_logp", "ref_logp", "value", "ret", "advantage")}
    empty = batch_of([[0], [0]], pair=[0, 0], acc=[1.0, 0.0], **columns)
    now = {key: column_of(empty, [[0], [0]]) for key in case(loss, 1, -1)[1]}
    total, metrics = loss_and_metrics(Term(loss, SHARES[loss.unit]), empty, now)
    assert float(total.detach()) == 0
    assert all(float(metric) == 0 for metric in metrics.values()), metrics
