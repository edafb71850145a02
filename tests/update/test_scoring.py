"""Who is asked, for which tokens, how often. Scorers answer with numbers that tell who they are."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from batches import random_batch
from helpers import tiny_model
from menon.batch import Batch
from menon.engines.in_process import InProcessHost
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.update.objective import Micro, cut, loss_of, mismatch, prepare
from menon.update.protocols import VALUE, Need, need_column
from menon.update.scoring import score
from menon.update.terms import Term, Update, split


@dataclass(frozen=True)
class Reads:
    reads: tuple[str, ...]
    unit: ClassVar = "token"
    needs: ClassVar = ("logp",)


class Scripted:
    def __init__(self, number: float):
        self.number = number
        self.asked: list[tuple[Need, ...]] = []

    def score(self, batch, needs, models=None):
        self.asked.append(tuple(needs))
        return {
            need_column(need): torch.full((batch.num_tokens,), self.number + float(need == "entropy"))
            for need in needs
        }


def parts_of(batch, *columns, count=1):
    return split(batch, Update({"policy": Term(Reads(columns), None)}, count=count), seed=0, step=0)


@pytest.fixture
def batch():
    return replace(random_batch(), value=None)


def test_nothing_is_scored_that_nobody_reads(batch):
    policy = Scripted(1)
    assert score(batch, parts_of(batch, "old_logp"), (), InProcessHost({"policy": policy})).old_logp is None
    assert policy.asked == []


def test_the_first_update_needs_no_old_logp(batch):
    policy = Scripted(1)
    parts = parts_of(batch, "old_logp", count=2)
    old = score(batch, parts, (), InProcessHost({"policy": policy})).old_logp
    first = torch.isin(
        torch.repeat_interleave(torch.arange(batch.num_sequences), batch.lengths), parts[0].rows
    )
    assert old[first].isnan().all()
    assert (old[~first] == 1).all()


def test_the_samplers_numbers_instead_of_old_ones(batch):
    """Nothing is scored, and the first update keeps them: its ratio is exp(-1) where the sampler said 1."""
    policy = Scripted(1)
    batch = replace(
        batch,
        old_logp=None,
        behaviour_logp=torch.ones(batch.num_tokens),
        advantage=-torch.ones(batch.num_tokens),
    )
    update = Update({"policy": Term(PPOClip(), TokenMean())}, count=2, old="behaviour")
    parts = split(batch, update, seed=0, step=0)
    scored = score(batch, parts, ("old_logp",), InProcessHost({"policy": policy}))
    assert policy.asked == []
    assert (scored.old_logp == 1).all()
    for part in parts:
        job = prepare(part, scored, InProcessHost({"policy": policy}))
        now = {"logp": torch.zeros(job.batch.num_tokens)}
        loss, metrics = loss_of(now, Micro(job.batch, job.terms))
        assert float(loss) == pytest.approx(max(math.exp(-1), 0.8))
        assert float(metrics["ratio/mean"]) == pytest.approx(math.exp(-1))


def test_credit_that_reads_old_logp_gets_it_for_every_token(batch):
    policy, reference = Scripted(1), Scripted(2)
    host = InProcessHost({"policy": policy, "reference": reference})
    scored = score(batch, parts_of(batch), ("old_logp", "ref_logp"), host)
    assert (scored.old_logp == 1).all()
    assert (scored.ref_logp == 2).all()


def test_one_pass_for_all_that_one_model_is_asked(batch):
    """Policy and critic on one trunk."""
    shared = Scripted(1)
    parts = parts_of(batch, "old_entropy")
    scored = score(batch, parts, ("old_logp", "value"), InProcessHost({"policy": shared, "critic": shared}))
    assert [set(asked) for asked in shared.asked] == [{"logp", "entropy", VALUE}]
    assert (scored.entropy == 2).all()


def test_the_chance_that_two_draws_agree(batch):
    """Of a real model, token by token on the prefix; only where a part reads it."""
    model = tiny_model(seed=3)
    scorer = InProcessHost({"policy": TorchScorer(model)})
    found = score(batch, parts_of(batch), ("collision",), scorer).collision
    expected = torch.zeros(batch.num_tokens)
    for place in batch.is_action.nonzero()[:, 0].tolist():
        start = place - int(batch.position[place])
        with torch.no_grad():
            logits = model(batch.token[start:place][None]).logits[0, -1]
        expected[place] = logits.softmax(-1).square().sum()
    torch.testing.assert_close(found, expected)
    assert score(batch, parts_of(batch), (), scorer).collision is None


def test_a_missing_model_is_named(batch):
    with pytest.raises(
        UserError, match="this run has no reference model; set reference in the configuration"
    ):
        score(batch, parts_of(batch, "ref_logp"), (), InProcessHost({"policy": Scripted(1)}))


def test_mismatch_by_hand():
    """Two trained tokens at log-ratios +.1 and -.2."""
    every = torch.ones(3, dtype=torch.bool)
    batch = Batch(
        offset=torch.tensor([0, 3]),
        token=torch.zeros(3, dtype=torch.int64),
        is_action=torch.tensor([False, True, True]),
        reward=torch.zeros(3),
        group=torch.zeros(1, dtype=torch.int64),
        finish=torch.zeros(1, dtype=torch.int64),
        valid=every[:1],
        acc=torch.zeros(1),
        behaviour_logp=torch.tensor([0.0, -1.0, -2.0]),
    )
    found = {name: float(m) for name, m in mismatch({"logp": torch.tensor([0.0, -0.9, -2.2])}, batch).items()}
    assert found["mismatch/abs"] == pytest.approx(0.15, abs=1e-6)
    assert found["mismatch/k3"] == pytest.approx((0.00517092 + 0.01873075) / 2, abs=1e-6)
    assert found["mismatch/max_w"] == pytest.approx(1.105171, abs=1e-6)
    assert mismatch({"value": torch.zeros(3)}, batch) == {}
    assert mismatch({"logp": torch.zeros(3)}, replace(batch, behaviour_logp=None)) == {}


@pytest.mark.parametrize("old", ["trainer", "behaviour"])
def test_mismatch_is_that_of_the_first_update(batch, old):
    """Whoever's log-probs the ratios take: the new ones are 0 and the sampler's -.5."""
    batch = replace(batch, old_logp=None, behaviour_logp=torch.full((batch.num_tokens,), -0.5))
    batch = replace(batch, advantage=torch.ones(batch.num_tokens))
    update = Update({"policy": Term(PPOClip(), TokenMean())}, count=2, old=old)
    host = InProcessHost({"policy": Scripted(1)})
    parts = split(batch, update, seed=0, step=0)
    scored = score(batch, parts, (), host)
    found = []
    for part in parts:
        (micro,) = cut(prepare(part, scored, host), 10_000)
        metrics = loss_of({"logp": torch.zeros(micro.batch.num_tokens)}, micro)[1]
        found.append(float(metrics["mismatch/abs"]) if "mismatch/abs" in metrics else None)
    assert found == [0.5, None]
