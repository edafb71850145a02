"""Example of docs/numerics.md, 19.5: S_w = -12 in 6 tokens, S_l = -15 in 10, reference -13 and -14.5:
h = 1 - (-.5) = 1.5."""

import math

import pytest
import torch

from menon.errors import UserError
from menon.loss import CDPO, CPO, IPO, NLL, ORPO, RobustDPO, SimPO, SLiC
from menon.loss.aggregation import PairMean, PairMeanTokenMean, SelectedMean
from menon.loss.orpo import log_odds
from menon.select import Correct
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

MASK = [[1] * 6 + [0] * 4, [1] * 10]
NEW = [[-2.0] * 6 + [0] * 4, [-1.5] * 10]
REF = [[-2, -2, -2, -2, -2, -3, 0, 0, 0, 0], [-1.45] * 10]


def pair():
    batch = batch_of(MASK, ref_logp=REF, pair=[0, 0], acc=[1.0, 0.0])
    return batch, {"logp": column_of(batch, NEW)}


# Loss, its derivative by each token of the preferred answer, and of the other.
WORKED = {
    CDPO(): (0.635957, -0.1 * (0.9 - 0.537430), 0.1 * (0.9 - 0.537430)),  # sigmoid(.15) = .537430
    # (.9 * .620957 - .1 * .770957) / .8; -.1 (.9 * .462570 + .1 * .537430) / .8
    RobustDPO(): (0.602207, -0.0587570, 0.0587570),
    IPO(): (12.25, -7, 7),  # (1.5 - 5)^2, 2 * -3.5
    IPO(average=True): (22.880278, -9.566667 / 6, 9.566667 / 10),  # h = 1/6 + .5/10 = .216667
    SLiC(): (0.85, -0.1, 0.1),  # 1 - .15
    SLiC(beta=1): (0, 0, 0),  # a margin of 1.5 is enough
    SimPO(): (2.126928, -2 * 0.880797 / 6, 2 * 0.880797 / 10),  # 2 (-2 + 1.5) - 1 = -2; sigmoid(2)
    CPO(): (0.554355, -0.1 * 0.425557, 0.1 * 0.425557),  # log(1 + e^-.3), sigmoid(-.3)
    # odds -2 - log(1 - e^-2) = -1.854587 and -1.5 - log(1 - e^-1.5) = -1.247518: log sigmoid(-.607069)
    ORPO(): (0.1042058, -0.1 * 0.647271 / (1 - math.exp(-2)) / 6, 0.1 * 0.647271 / (1 - math.exp(-1.5)) / 10),
}


@pytest.mark.parametrize("loss", WORKED, ids=str)
def test_worked(loss):
    value, preferred, other = WORKED[loss]
    batch, now = pair()
    each = rows_of(batch, loss(now, batch))
    assert each[0, 5] == pytest.approx(value, abs=1e-6)
    assert each.count_nonzero() == (value != 0)  # on the last token of the preferred answer alone
    found, gradient = value_and_gradient(Term(loss, PairMean()), batch, now)
    assert found == pytest.approx(value, abs=1e-6)
    rows = rows_of(batch, gradient)
    assert rows[0, :6].tolist() == pytest.approx([preferred] * 6, abs=1e-6)
    assert rows[1].tolist() == pytest.approx([other] * 10, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "chosen", "rejected"),
    [
        (IPO(), 0.1, -0.05),
        (IPO(average=True), 0.1 / 6, -0.005),
        (SLiC(beta=1), 1, -0.5),
        (CDPO(), 0.1, -0.05),
        (RobustDPO(), 0.1, -0.05),
        (SimPO(), -4, -3),
        (CPO(), -1.2, -1.5),
        (ORPO(), -0.2, -0.15),
    ],
)
def test_metrics(loss, chosen, rejected):
    batch, now = pair()
    _, metrics = loss_and_metrics(Term(loss, PairMean()), batch, now)
    found = {name: float(metric) for name, metric in metrics.items() if name.startswith("pairs/")}
    assert found == pytest.approx(
        {
            "pairs/accuracy": float(chosen > rejected),
            "pairs/margin": chosen - rejected,
            "pairs/chosen_reward": chosen,
            "pairs/rejected_reward": rejected,
            "pairs/chosen_logp": -12,
            "pairs/rejected_logp": -15,
            "pairs/dropped": 0,
        },
        abs=1e-9,
    )


def test_robust_dpo_is_the_loss_of_the_right_label_on_average():
    """Labels are flipped with probability .1: .9 l(h) + .1 l(-h) = -log sigmoid(.15) = .620957."""
    batch, now = pair()
    flipped = batch_of(MASK, ref_logp=REF, pair=[0, 0], acc=[0.0, 1.0])
    losses = [float(RobustDPO()(now, given).sum().detach()) for given in (batch, flipped)]
    assert 0.9 * losses[0] + 0.1 * losses[1] == pytest.approx(0.620957, abs=1e-6)


def test_log_odds():
    """p = .5, .9, 1e-9; a probability that rounds to 1 has finite odds and no gradient."""
    logp = torch.tensor([0.5, 0.9, 1e-9], dtype=torch.float64).log()
    assert log_odds(logp).tolist() == pytest.approx([0, math.log(9), math.log(1e-9)], abs=1e-8)
    # Near 1 the naive log(1 - exp(x)) loses all digits: p = 1 - 1e-12.
    assert float(log_odds(torch.tensor(-1e-12, dtype=torch.float64))) == pytest.approx(27.631021, abs=1e-6)
    for dtype in (torch.float32, torch.float64):
        sure = torch.zeros(1, dtype=dtype, requires_grad=True)
        odds = log_odds(sure)
        assert float(odds.detach()) == pytest.approx(-math.log(torch.finfo(dtype).eps), rel=1e-6)
        assert torch.autograd.grad(odds, sure)[0].tolist() == [0]


@pytest.mark.parametrize(
    ("share", "expected", "weight"),
    [(PairMean(), 12, 1), (PairMeanTokenMean(), 2, 1 / 6), (SelectedMean(), 2, 1 / 6)],
)
def test_the_likelihood_of_preferred_answers(share, expected, weight):
    """The second term of CPO (a sum over the answer), of ORPO (its mean), and TRL's (a mean over tokens)."""
    batch, now = pair()
    value, gradient = value_and_gradient(Term(NLL(), share, Correct()), batch, now)
    assert value == pytest.approx(expected, abs=1e-9)
    assert rows_of(batch, gradient)[0, :6].tolist() == pytest.approx([-weight] * 6)
    assert rows_of(batch, gradient)[1].tolist() == [0] * 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: IPO(beta=0), "beta of IPO is 0; .* must be positive"),
        (lambda: SimPO(gamma=-1), "gamma of SimPO is -1; it is a margin"),
        (lambda: ORPO(lam=0), "lam of ORPO is 0; .* must be positive"),
        (lambda: RobustDPO(label_smoothing=0.5), r"label_smoothing 0\.5 of RobustDPO .* below \.5"),
        (lambda: CDPO(label_smoothing=-0.1), r"label_smoothing -0\.1 of CDPO"),
    ],
)
def test_refusals(wrong, said):
    with pytest.raises(UserError, match=said):
        wrong()
