"""Coefficients that follow what is measured, by hand, and their way into the weight of a term."""

import pytest
import torch

from menon.control.entropy_coefficient import EntropyCoefficient
from menon.control.kl_coefficient import KLCoefficient
from menon.control.penalty_coefficient import PenaltyCoefficient
from menon.errors import UserError
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.step import give_credit, observe
from menon.types import Mean
from menon.update.objective import prepare
from menon.update.terms import MiniBatch, Term, Update, steered
from rows import Known, batch_of


def weight(batch, name):
    part = MiniBatch(
        Update({name: Term(NLL(), TokenMean(), coef=2.0)}), torch.arange(batch.num_sequences), True
    )
    job = prepare(part, batch, Known({}))
    return float(job.terms[name].weight[job.batch.trained][0])


def test_a_coefficient_multiplies_its_term_alone():
    """2 * .3 over four tokens; another term keeps 2 over four."""
    part = KLCoefficient(start=0.3)
    batch = batch_of([[1, 1], [1, 1]], old_logp=[[0, 0], [0, 0]], ref_logp=[[0, 0], [0, 0]])
    after, memory = give_credit(batch, {"steer": part}, {"steer": part.init()})
    assert weight(after, "kl") == pytest.approx(0.15)
    assert weight(after, "policy") == pytest.approx(0.5)
    assert {name: float(metric) for name, metric in steered(after).items()} == pytest.approx(
        {"coefficient/kl": 0.3}
    )
    # KL 0 is at most .8 target: the next one is smaller by .2 * 2 answers / horizon.
    assert memory["steer"]["beta"] == pytest.approx(0.3 * (1 - 0.2 * 2 / 10_000))


@pytest.mark.parametrize(("kl", "factor"), [(0.01, 0.99488), (0.06, 1.0), (0.12, 1.00512)])
def test_adaptive_kl(kl, factor):
    """Example of docs/numerics.md, 19.4: target .06, 256 answers, horizon 10000."""
    part = KLCoefficient(start=1.0, target=0.06)
    batch = batch_of([[1]] * 256, old_logp=[[0]] * 256, ref_logp=[[-kl]] * 256)
    _, after = part(batch, part.init())
    assert after["beta"] == pytest.approx(factor)


@pytest.mark.parametrize(("measured", "after"), [(0.0151, 2.0), (0.0149, 1.0), (0.0067, 1.0), (0.0066, 0.5)])
def test_penalty_doubles_and_halves(measured, after):
    """Target .01: above .015, below .00667."""
    part = PenaltyCoefficient()
    memory = observe({"steer": part}, {"steer": part.init()}, {"kl/old": Mean(3 * measured, 3)})
    assert memory["steer"]["beta"] == after


def test_penalty_stays_where_nothing_was_measured_and_other_memories_too():
    part, kl = PenaltyCoefficient(), KLCoefficient()
    memory = {"steer": {"beta": 0.7}, "kl": {"beta": 0.1}}
    assert observe({"steer": part, "kl": kl}, memory, {}) == memory


def test_entropy_counts_while_it_is_low():
    """Entropies 1, 3: mean 2. Target 2: the bonus counts with .01, then .015. Target 1.9: it does not, then
    .005, then 0."""
    batch = batch_of([[1, 1]], entropy=[[1, 3]])
    low, high = EntropyCoefficient(target=2.0), EntropyCoefficient(target=1.9)
    counted, after = low(batch, low.init())
    assert weight(counted, "entropy") == pytest.approx(2 * 0.01 / 2)
    assert after["coefficient"] == pytest.approx(0.015)
    counted, after = high(batch, high.init())
    assert weight(counted, "entropy") == 0
    assert after["coefficient"] == pytest.approx(0.005)
    assert high(batch, {"coefficient": 0.003})[1]["coefficient"] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: KLCoefficient(target=0),
        lambda: PenaltyCoefficient(start=-1),
        lambda: EntropyCoefficient(target=0),
    ],
)
def test_refuses(make):
    with pytest.raises(UserError, match="must be positive"):
        make()
