"""TRPO's step, by hand on a table of two logits and by its laws on a small model."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from batches import VOCAB, near, random_batch
from helpers import tiny_model
from menon.engines.in_process import InProcessHost
from menon.engines.natural_gradient import NaturalLearner, conjugate_gradient
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loss import Surrogate
from menon.loss.aggregation import TokenMean
from menon.update.objective import cut, prepare
from menon.update.optimiser import NaturalGradient, Optimiser
from menon.update.protocols import Need, Reduction
from menon.update.terms import MiniBatch, Term, Update
from rows import Known, batch_of

SURROGATE = Update({"policy": Term(Surrogate(), TokenMean())})


class Table:
    """One state and two actions: the weights are the two logits, and nothing else."""

    tokens_per_forward = 1 << 30
    workers, by_prompt = 1, False
    device = torch.device("cpu")

    def __init__(self, logits: list[float]) -> None:
        self.theta = torch.tensor(logits, dtype=torch.float64, requires_grad=True)

    def forward(self, batch, needs: Iterable[Need], models):
        place = batch.is_action.nonzero()[:, 0]
        rows = self.theta.expand(len(place), 2)
        columns = {}
        for need in needs:
            if isinstance(need, Reduction):
                other = models[need.other].logits(batch)(place) if need.other else None
                columns[need.name] = need.reduce(rows, other)
            else:
                columns[need] = rows.log_softmax(-1).gather(-1, batch.token[place, None])[:, 0]
        zero = torch.zeros(batch.num_tokens, dtype=torch.float64)
        return {name: zero.index_copy(0, place, column) for name, column in columns.items()}

    def logits(self, batch):
        return lambda places: self.theta.detach().clone().expand(len(places), 2)

    def weights(self):
        return {"theta": self.theta}

    def score(self, batch, needs, models=None):
        return {name: column.detach() for name, column in self.forward(batch, needs, models or {}).items()}

    def accumulate(self, micros, models): ...

    def step(self): ...

    def state(self):
        return {}

    def load(self, weights, state): ...


def step(inner, batch, setting, update=SURROGATE, tokens_per_forward=1 << 30):
    learner = NaturalLearner(inner, setting)
    part = MiniBatch(update, torch.arange(batch.num_sequences), True)
    job = prepare(part, batch, InProcessHost({"policy": inner}))
    learner.accumulate(cut(job, tokens_per_forward), {})
    return {name: float(metric) for name, metric in learner.step().items()}


def one_token(action: int):
    batch = batch_of([[1]], advantage=[[1]])
    return replace(batch, token=torch.tensor([0, action]))


def test_conjugate_gradient_solves_in_as_many_steps_as_there_are_unknowns():
    """4 x + y = 1, x + 3 y = 2: x = 1/11, y = 7/11."""
    matrix = torch.tensor([[4.0, 1], [1, 3]], dtype=torch.float64)
    target = torch.tensor([1.0, 2], dtype=torch.float64)
    assert conjugate_gradient(lambda v: matrix @ v, target, 2).tolist() == pytest.approx([1 / 11, 7 / 11])
    # After one step: x = b (b'b / b'Ab) = (1, 2) 5 / 20.
    assert conjugate_gradient(lambda v: matrix @ v, target, 1).tolist() == pytest.approx([0.25, 0.5])
    assert conjugate_gradient(lambda v: matrix @ v, 0 * target, 5).tolist() == [0, 0]


def test_the_step_by_hand():
    """p = (.5, .5), action 0 with A = 1: F = .25 [[1, -1], [-1, 1]], so s is along (1, -1), where s'Fs = 1;
    the step is sqrt(2 * .02) (1, -1) = (.2, -.2). Then p_0 = sigmoid(.4) = .598688 and KL = .019868 <=
    .02."""
    table = Table([0.0, 0.0])
    metrics = step(table, one_token(0), NaturalGradient(max_kl=0.02))
    assert table.theta.tolist() == pytest.approx([0.2, -0.2])
    assert metrics["trpo/kl"] == pytest.approx(0.019868, abs=1e-6)
    assert (metrics["trpo/tries"], metrics["trpo/rejected"], metrics["update/empty"]) == (1, 0, 0)
    assert metrics["grad_norm"] == pytest.approx(0.5**0.5)  # of -(1 - p_0, -p_1)


def test_a_step_that_goes_too_far_is_shortened():
    """p = (.9, .1), action 1: (-1, 1) has s'Fs = 4 * .09 = .36, so the step is 1/3 (-1, 1), KL = .023872; .8
    of it: .014756."""
    table = Table([9.0**0.5, 1.0])
    table.theta.data = torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    start = table.theta.tolist()
    metrics = step(table, one_token(1), NaturalGradient(max_kl=0.02))
    assert [now - then for now, then in zip(table.theta.tolist(), start, strict=True)] == pytest.approx(
        [-0.8 / 3, 0.8 / 3]
    )
    assert metrics["trpo/kl"] == pytest.approx(0.014756, abs=1e-6)
    assert metrics["trpo/tries"] == 2


def test_no_acceptable_step_keeps_the_weights():
    table = Table([0.0, 0.0])
    table.theta.data = torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    start = table.theta.tolist()
    metrics = step(table, one_token(1), NaturalGradient(max_kl=0.02, tries=1))
    assert table.theta.tolist() == start
    assert (metrics["trpo/kl"], metrics["trpo/rejected"]) == (0, 1)


def test_nothing_to_learn():
    """No token has a weight; and one whose advantage is 0 has no gradient."""
    for batch, empty in (
        (batch_of([[1]], advantage=[[1]], valid=[False]), 1),
        (batch_of([[1]], advantage=[[0]]), 0),
    ):
        table = Table([0.3, 0.0])
        metrics = step(table, batch, NaturalGradient())
        assert table.theta.tolist() == [0.3, 0.0]
        assert (metrics["update/empty"], metrics["update/skipped"]) == (empty, 0)


def tiny_learner():
    return TorchLearner(
        tiny_model("gpt2", 0, VOCAB, torch.float64, hidden=8),
        Optimiser(),
        temperature=0.8,
        vocabulary_chunk=200,
    )


@pytest.mark.parametrize("max_kl", [1e-2, 1e-4])
def test_a_model_stays_within_its_region_and_improves(max_kl):
    """And uses it: a small step ends close to the bound, where the quadratic model is right. The cut changes
    nothing."""
    ends = []
    for tokens_per_forward in (1 << 30, 30):
        inner = tiny_learner()
        batch = random_batch(dtype=torch.float64)
        before = inner.score(batch, ("logp",))["logp"]
        metrics = step(
            inner, batch, NaturalGradient(max_kl=max_kl, damping=1e-3), tokens_per_forward=tokens_per_forward
        )
        gain = batch.advantage * (inner.score(batch, ("logp",))["logp"] - before).exp()
        assert float((gain - batch.advantage)[batch.trained].mean()) > 0
        assert 0.3 * max_kl < metrics["trpo/kl"] <= max_kl
        ends.append(torch.cat([weight.detach().flatten() for weight in inner.weights().values()]))
    assert torch.allclose(*ends, rtol=0, atol=1e-9)


def test_only_in_this_process():
    with pytest.raises(
        UserError, match="a natural gradient differentiates twice through a model in this process"
    ):
        NaturalLearner(Known({}), NaturalGradient())


def test_refuses_a_region_without_room():
    with pytest.raises(UserError, match="max_kl must be positive"):
        NaturalGradient(max_kl=0)


def test_old_log_probs_of_later_updates_are_kept():
    """The surrogate of a later update is against the policy of before the step."""
    inner = tiny_learner()
    batch = near(
        random_batch(dtype=torch.float64), inner.score(random_batch(dtype=torch.float64), ("logp",))["logp"]
    )
    learner = NaturalLearner(inner, NaturalGradient(max_kl=1e-3))
    part = MiniBatch(SURROGATE, torch.arange(batch.num_sequences), False)
    job = prepare(part, batch, InProcessHost({"policy": inner}))
    ratio = float(learner.accumulate(cut(job, 1 << 30), {})["ratio/mean"])
    assert ratio != pytest.approx(1, abs=1e-3)
    assert 0 < float(learner.step()["trpo/kl"]) <= 1e-3
