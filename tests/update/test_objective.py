"""Splitting and cutting: every sequence once, units whole, budgets held, and a result that is a function of
the name alone."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from menon.batch import Batch
from menon.engines.in_process import InProcessHost
from menon.types import Mean
from menon.update.objective import cut, forward_rows, loss_of, prepare
from menon.update.terms import Term, Update, split


def batch_of(lengths: list[int], groups: list[int] | None = None) -> Batch:
    offset = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])
    n, s = int(offset[-1]), len(lengths)
    return Batch(
        offset=offset,
        token=torch.arange(n),
        is_action=torch.ones(n, dtype=torch.bool),
        reward=torch.zeros(n),
        group=torch.tensor(groups if groups is not None else list(range(s))),
        finish=torch.zeros(s, dtype=torch.int64),
        valid=torch.ones(s, dtype=torch.bool),
        acc=torch.zeros(s),
    )


@dataclass(frozen=True)
class Double:
    """l = 2 * logp."""

    unit: str = "token"
    needs: ClassVar = ("logp",)
    reads: ClassVar = ()

    def __call__(self, now, batch):
        return 2 * now["logp"]

    def metrics(self, now, batch):
        return {"seen": Mean(batch.trained.sum(), 1)}


@dataclass(frozen=True)
class Mine:
    """Each token weighs 1 / tokens of the whole update."""

    def __call__(self, batch, selected):
        return selected / batch.trained.sum()


@dataclass(frozen=True)
class AboveMedian:
    """A selection with a statistic over the whole update."""

    reads: ClassVar = ()

    def prepare(self, batch, current):
        entropy = current("entropy")["entropy"]
        return {"above": (entropy > entropy.median()).float()}

    def __call__(self, batch):
        return batch.columns["above"] > 0


class Counting:
    """A scorer whose entropy is the token's number; counts how often it is asked."""

    tokens_per_forward = 10
    asked = 0

    def score(self, batch, needs, models=None):
        self.asked += 1
        return {str(need): batch.token.float() for need in needs}


def host(scorer) -> InProcessHost:
    return InProcessHost({"policy": scorer})


def update(count=1, **kwargs) -> Update:
    return Update({"policy": Term(Double(**kwargs), Mine())}, count=count)


def test_split_deals_every_sequence_once():
    batch = batch_of([2] * 10)
    parts = split(batch, update(count=3), seed=0, step=4)
    assert sorted(torch.cat([p.rows for p in parts]).tolist()) == list(range(10))
    assert [len(p.rows) for p in parts] == [4, 3, 3]
    assert [p.first for p in parts] == [True, False, False]


def test_split_is_named_by_seed_and_step():
    batch = batch_of([2] * 10)
    rows = {(s, t): split(batch, update(count=2), s, t)[0].rows.tolist() for s, t in [(0, 0), (0, 1), (1, 0)]}
    assert rows[0, 0] == split(batch, update(count=2), 0, 0)[0].rows.tolist()
    assert len({tuple(r) for r in rows.values()}) == 3


def test_split_keeps_groups_whole():
    groups = [3, 7, 3, 7, 5, 5]
    parts = split(batch_of([1] * 6, groups), update(count=2, unit="group"), 0, 0)
    found = [{groups[i] for i in part.rows.tolist()} for part in parts]
    assert found[0].isdisjoint(found[1])


def test_more_updates_than_units():
    assert len(split(batch_of([1, 1]), update(count=5), 0, 0)) == 2
    assert split(batch_of([]), update(count=5), 0, 0) == []


@pytest.mark.parametrize("budget", [1, 5, 8, 12, 1000])
@pytest.mark.parametrize("unit", ["sequence", "group"])
def test_a_forward_pass_holds_its_budget(budget, unit):
    lengths, groups = [5, 1, 3, 3, 2, 8], [0, 1, 0, 1, 2, 2]
    batch = batch_of(lengths, groups)
    passes = [p.tolist() for p in forward_rows(batch, unit, budget)]
    assert sorted(row for rows in passes for row in rows) == list(range(6))
    for rows in passes:
        units = {groups[i] for i in rows} if unit == "group" else set(rows)
        assert len(rows) * max(lengths[i] for i in rows) <= budget or len(units) == 1
    if unit == "group":
        assert sum(len({groups[i] for i in rows}) for rows in passes) == 3


@pytest.mark.parametrize("budget", [8, 12, 1000])
def test_passes_that_run_at_a_time_share_the_budget(budget):
    """And all workers have something to do, the longest first."""
    lengths = [3, 1, 3, 3, 2, 4]
    passes = [p.tolist() for p in forward_rows(batch_of(lengths), "sequence", budget, 2)]
    assert sorted(row for rows in passes for row in rows) == list(range(6))
    longest = [max(lengths[i] for i in rows) for rows in passes]
    assert len(passes) >= 2
    assert longest == sorted(longest, reverse=True)
    assert all(len(rows) * most <= budget / 2 for rows, most in zip(passes, longest, strict=True))


def test_answers_to_a_prompt_stay_together_and_its_tokens_count_once():
    """Prompts of 4, 4 and 2 tokens with answers of 1, 1; 2, 3; 5: 6, 9 and 7 tokens, 22 in all."""
    lengths, groups = [5, 6, 7, 5, 7], [0, 1, 2, 0, 1]
    batch = batch_of(lengths, groups)
    prompt = [4, 4, 2, 4, 4]
    begin = torch.tensor(prompt).repeat_interleave(torch.tensor(lengths))
    batch = replace(batch, is_action=batch.position >= begin)

    def found(unit: str, budget: int) -> list[list[int]]:
        return [rows.tolist() for rows in forward_rows(batch, unit, budget, by_prompt=True)]

    assert found("sequence", 22) == [[0, 3, 1, 4, 2]]
    assert found("sequence", 15) == [[0, 3, 1, 4], [2]]
    # The second answer to prompt 1 is in another pass, where the prompt counts again: 12, then 7 and 7.
    assert found("sequence", 14) == [[0, 3, 1], [4, 2]]
    assert found("group", 14) == [[0, 3], [1, 4], [2]]
    assert found("sequence", 1) == [[0], [3], [1], [4], [2]]
    assert found("group", 1) == [[0, 3], [1, 4], [2]]


def test_cut_carries_weights_to_their_tokens():
    batch = batch_of([2, 4, 1])
    part = split(batch, update(), 0, 0)[0]
    job = prepare(part, batch, host(Counting()))
    total = torch.tensor(0.0)
    for micro in cut(job, 4):
        loss, metrics = loss_of({"logp": micro.batch.token.float()}, micro)
        total = total + loss
        assert float(metrics["seen"]) == micro.batch.num_tokens
    assert total == 2 * sum(range(7)) / 7


def test_a_statistic_sees_the_whole_update_and_is_free_on_the_first():
    """Entropies 0..6, median 3: tokens 4, 5, 6 count, wherever the cut falls. Weights stay 1/7 each."""
    batch = batch_of([2, 4, 1])
    one = Update({"policy": Term(Double(), Mine(), AboveMedian())})
    part = split(batch, one, 0, 0)[0]
    scorer = Counting()
    for known, asked in ((None, 1), (batch.token.float(), 1)):
        job = prepare(part, replace(batch, entropy=known), host(scorer))
        assert scorer.asked == asked
        weights = job.terms["policy"].weight
        assert weights.tolist() == pytest.approx([0, 0, 0, 0, 1 / 7, 1 / 7, 1 / 7])
        pieces = list(cut(job, 1))
        assert sum(float(m.terms["policy"].weight.sum()) for m in pieces) == pytest.approx(3 / 7)


def test_an_infinite_loss_outside_of_the_selection_does_not_leak():
    batch = batch_of([3])
    one = Update({"policy": Term(Double(), Mine(), AboveMedian(), coef=0.5)})
    job = prepare(split(batch, one, 0, 0)[0], batch, host(Counting()))
    micro = next(cut(job, 10))
    loss, _ = loss_of({"logp": torch.tensor([0.0, float("inf"), 3.0])}, micro)
    assert loss == pytest.approx(0.5 * 2 * 3 / 3)
