"""Losses of preferences learn: on a tiny model the preferred answers of eight pairs get ahead, and a reward
model puts every pair in order."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from batches import VOCAB, random_batch
from helpers import tiny_model
from menon.batch import Batch, take
from menon.engines.in_process import InProcessHost
from menon.engines.network import value_head
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.loss import CPO, DPO, IPO, ORPO, BradleyTerry, RobustDPO, SimPO, SLiC
from menon.loss.aggregation import PairMean
from menon.types import Metric
from menon.update.host import Ask
from menon.update.objective import prepare
from menon.update.optimiser import Optimiser
from menon.update.terms import MiniBatch, Term, Update


def tiny_host() -> InProcessHost:
    """A policy with a reward head, and a reference with the same weights."""
    torch.set_num_threads(1)
    first, second = (tiny_model("gpt2", 0, VOCAB, hidden=16) for _ in range(2))
    policy = TorchLearner(first, Optimiser(learning_rate=0.01), heads={"reward": value_head(16, "orz", 1)})
    return InProcessHost({"policy": policy, "reference": TorchScorer(second)})


def updated(host: InProcessHost, batch: Batch, loss: Any) -> dict[str, Metric]:
    """One update on the whole batch."""
    update = Update({"preference": Term(loss, PairMean())})
    every = MiniBatch(update, torch.arange(batch.num_sequences), first=False)
    return host.update("policy", prepare(every, batch, host))


@pytest.mark.parametrize(
    "loss",
    [
        DPO(beta=0.5),
        RobustDPO(beta=0.5),
        IPO(beta=0.5),
        SLiC(beta=0.5),
        SimPO(),
        CPO(beta=0.5),
        ORPO(lam=1),
        BradleyTerry(),
    ],
    ids=lambda loss: loss.kind,
)
def test_pairs_get_into_order(loss):
    host = tiny_host()
    batch = random_batch(16)
    batch = replace(batch, **host.score(batch, [Ask("reference", "logp", "ref_logp")]))
    found = [updated(host, batch, loss) for _ in range(25)]
    first, last = ({name: float(metric) for name, metric in step.items()} for step in (found[0], found[-1]))
    assert first["pairs/accuracy"] < 0.9
    assert last["pairs/accuracy"] == 1
    assert last["pairs/margin"] > first["pairs/margin"] + 0.1
    assert last["loss/preference"] < first["loss/preference"]


def test_pairs_of_equal_answers_move_nothing():
    """They are counted, and so is the update that was not made."""
    host, batch = tiny_host(), random_batch(4)
    twice = take(batch, torch.tensor([0, 0, 2, 2]))
    twice = replace(twice, pair=torch.tensor([0, 0, 1, 1]), acc=torch.tensor([1.0, 0, 1, 0]))
    before = host.fingerprint("policy")
    metrics = updated(host, twice, CPO())
    assert float(metrics["update/empty"]) == 1
    assert float(metrics["pairs/dropped"]) == 2
    assert host.fingerprint("policy") == before
    updated(host, batch, CPO())
    assert host.fingerprint("policy") != before
