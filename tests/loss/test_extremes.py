"""What no loss may do: give a NaN gradient at extreme log-probs, or let an untrained token in."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from menon.correction import M2PO, OPSM, Importance, Reject
from menon.errors import UserError
from menon.loss import (
    CDPO,
    CISPO,
    CPO,
    DPO,
    DPPO,
    DVO,
    GSPO,
    IPO,
    KL,
    NLL,
    ORPO,
    SAPO,
    VESPO,
    BradleyTerry,
    ClipCov,
    Distill,
    DualClip,
    EntropyBonus,
    ExactKL,
    GeoMean,
    GSPOToken,
    InfoNCA,
    KLCov,
    OldKL,
    PolicyGradient,
    PPOClip,
    RobustDPO,
    SimPO,
    SLiC,
    Surrogate,
    TrajectoryBalance,
    ValueLoss,
)
from menon.loss.aggregation import PairMean, SequenceMean, TokenMean
from menon.update.protocols import need_column
from menon.update.terms import Term
from rows import NAN, batch_of, column_of, loss_and_metrics

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
    DPO(average=True),
    CDPO(),
    RobustDPO(),
    IPO(),
    IPO(average=True),
    SLiC(),
    SimPO(),
    CPO(),
    ORPO(),
    BradleyTerry(0.1, 0.01),
    EntropyBonus(),
    ExactKL(),
    ValueLoss(),
    ValueLoss(clip=0.2),
    ValueLoss(huber=0.1),
    DualClip(bound=10),
    Surrogate(),
    OldKL(),
    SAPO(),
    VESPO(),
    GeoMean(),
    GSPO(ratio="product"),
    GSPOToken(),
    KLCov(fraction=0.3),
    ClipCov(fraction=0.3, low=0.0),
    DPPO(),
    KL("k1+"),
    KL("k3+"),
    KL("k3", weigh="old"),
    KL("k3", weigh="behaviour"),
    KL("k2", weigh="current"),
    ExactKL("forward"),
    Distill("jsd", temperature=2, t2_scale=True),
    TrajectoryBalance(),
    DVO(),
    InfoNCA(),
]
CORRECTIONS = [
    Importance(),
    Importance("sequence", "drop", high=3.0),
    Importance("geometric"),
    Importance(normalise=True),
    Importance("sequence", trainer="current", normalise=True),
    Reject(1.5, 0.5),
    Reject(0.1, divergence="k3", over="max"),
    OPSM(),
    OPSM(since="behaviour"),
    M2PO(),
]
UNBOUNDED = [PolicyGradient(), NLL(), CISPO(), KL("k1"), KL("abs"), KL("k2"), KL("k2", weigh="current")]
UNBOUNDED += [IPO(), IPO(average=True), TrajectoryBalance(), DVO()]
"""Linear or square in the log-prob: an infinite one has an infinite gradient, which the learner's skip
catches."""
MASK = [[1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]
SHARES = {"token": TokenMean(), "sequence": SequenceMean(), "pair": PairMean(), "group": SequenceMean()}


def name(loss):
    return str(loss)


def case(loss, scale, sign, dtype=torch.float32):
    ramp = torch.arange(12.0).view(3, 4) / 12
    pairs = {"pair": [0, 0], "acc": [1.0, 0.0]} if loss.unit == "pair" else {}
    rows = slice(0, 2) if pairs else slice(0, 3)
    valid = [True, True] if pairs else [True, True, False]
    columns = dict.fromkeys(("old_logp", "ref_logp", "behaviour_logp", "value", "ret"), (ramp - 1)[rows])
    batch = batch_of(MASK[rows], valid=valid, dtype=dtype, advantage=(ramp - 0.5)[rows], **columns, **pairs)
    (need,) = loss.needs
    return batch, {need_column(need): column_of(batch, sign * scale * (ramp[rows] + 0.5), dtype)}


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [1, 30, 1e4])
@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_finite_and_nothing_leaks(loss, scale, sign):
    """Columns hold NaN on prompts, observations and a failed answer: losses, gradients and metrics stay
    finite there and 0."""
    batch, now = case(loss, scale, sign)
    total, metrics = loss_and_metrics(Term(loss, SHARES[loss.unit]), batch, now)
    (leaf,) = now.values()
    (gradient,) = torch.autograd.grad(total, leaf)
    assert torch.isfinite(total)
    columns = loss.prepare(batch, lambda *needs: {"logp": leaf.detach()}) if hasattr(loss, "prepare") else {}
    assert loss(now, replace(batch, columns=columns))[~batch.trained].tolist() == [0] * int(
        (~batch.trained).sum()
    )
    assert torch.isfinite(gradient).all()
    assert gradient[~batch.trained].abs().max() == 0
    assert all(math.isfinite(float(metric)) for metric in metrics.values()), metrics
    if scale == 1 and not (sign > 0 and isinstance(loss, ORPO)):  # which has no odds for log-probs above 0
        assert gradient[batch.trained].abs().max() > 0


@pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES if loss.needs == ("logp",) and loss not in UNBOUNDED], ids=name
)
def test_a_token_of_probability_zero_gives_no_nan(loss):
    batch, now = case(loss, 1, -1)
    (leaf,) = now.values()
    with torch.no_grad():
        leaf[1] = -math.inf
    total, _ = loss_and_metrics(Term(loss, SHARES[loss.unit]), batch, now)
    (gradient,) = torch.autograd.grad(total, leaf)
    assert not gradient.isnan().any()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.needs == ("logp",)], ids=name)
def test_no_nan_for_a_log_prob_of_minus_infinity(loss):
    """On a first update too, and where the old policy, the reference and the sampler give the token
    probability 0 as well. Without an advantage it has no loss."""
    pairs = {"pair": [0, 0], "acc": [1.0, 0.0]} if loss.unit == "pair" else {}
    for old, advantage in itertools.product((None, -0.5, -math.inf), (0.0, 1.0, -1.0)):
        other = [[old or -0.5, -1.0]] * 2
        columns = {"ref_logp": other, "behaviour_logp": other} | ({} if old is None else {"old_logp": other})
        batch = batch_of([[1, 1]] * 2, advantage=[[advantage] * 2] * 2, **columns, **pairs)
        now = {"logp": column_of(batch, [[-math.inf, -1.0], [-1.0, -1.0]])}
        total, metrics = loss_and_metrics(Term(loss, SHARES[loss.unit]), batch, now)
        assert not total.isnan()
        assert not torch.autograd.grad(total, now["logp"])[0].isnan().any()
        assert not any(math.isnan(float(metric)) for metric in metrics.values()), metrics
        if advantage == 0 and isinstance(loss, (PolicyGradient, CISPO, PPOClip, GSPO)):
            assert float(total.detach()) == 0


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_nothing_trained_gives_zero(loss):
    columns = {
        key: [[0], [0]] for key in ("old_logp", "ref_logp", "behaviour_logp", "value", "ret", "advantage")
    }
    empty = batch_of([[0], [0]], pair=[0, 0], acc=[1.0, 0.0], **columns)
    now = {key: column_of(empty, [[0], [0]]) for key in case(loss, 1, -1)[1]}
    total, metrics = loss_and_metrics(Term(loss, SHARES[loss.unit]), empty, now)
    assert float(total.detach()) == 0
    dropped = {"pairs/dropped"} if loss.unit == "pair" else set()
    assert all(float(metrics[name]) == (name in dropped) for name in metrics), metrics


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [1, 30, 1e4, math.inf])
@pytest.mark.parametrize("correction", CORRECTIONS, ids=name)
def test_corrections_are_finite(correction, scale, sign):
    """Whatever the distance between the policies, and where nothing is trained."""
    batch, now = case(PPOClip(), 1, -1)
    far = replace(
        batch,
        behaviour_logp=torch.where(
            batch.trained, sign * scale * torch.arange(1.0, batch.num_tokens + 1), NAN
        ),
    )
    total, metrics = loss_and_metrics(Term(PPOClip(), TokenMean(), correction=(correction,)), far, now)
    assert torch.isfinite(total)
    assert torch.isfinite(torch.autograd.grad(total, now["logp"])[0]).all()
    assert 0 <= float(metrics["mismatch/masked"]) <= 1
    empty = batch_of([[0], [0]], **{key: [[0], [0]] for key in ("old_logp", "behaviour_logp", "advantage")})
    nothing = {"logp": column_of(empty, [[0], [0]])}
    total, metrics = loss_and_metrics(Term(PPOClip(), TokenMean(), correction=(correction,)), empty, nothing)
    assert (float(total.detach()), float(metrics["mismatch/masked"])) == (0, 0)


RATIOS = [PPOClip, DualClip, CISPO, SAPO, DPPO, KLCov, GeoMean, GSPO, GSPOToken, VESPO]


@pytest.mark.parametrize("loss", [PPOClip, KLCov, GSPO, GSPOToken, lambda limit: DPPO(drift=0, limit=limit)])
@pytest.mark.parametrize(
    ("limit", "change", "slope"), [(10, 15, 0), (20, 15, math.exp(15)), (20, 40, 0), (80, 40, math.exp(40))]
)
def test_a_ratio_is_clamped_where_the_loss_says(loss, limit, change, slope):
    """A bad token that has become `change` nats likelier: d/dlogp of -A rho is rho, and 0 beyond the
    limit."""
    batch = batch_of([[1]], old_logp=[[-change]], behaviour_logp=[[-change]], advantage=[[-1.0]])
    batch = replace(batch, columns={"kl_cov": torch.zeros(batch.num_tokens, dtype=torch.bool)})
    now = {"logp": column_of(batch, [[0.0]])}
    (gradient,) = torch.autograd.grad(loss(limit=limit)(now, batch).sum(), now["logp"])
    assert float(gradient.sum()) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("loss", [*RATIOS, ClipCov])
@pytest.mark.parametrize("limit", [0.0, -1.0, 81.0])
def test_a_limit_that_would_overflow(loss, limit):
    with pytest.raises(UserError, match=f"limit {limit} of {loss.__name__} bounds a log-ratio"):
        loss(limit=limit)
