"""Arrangements inside a run: what is recorded of the answers left out, and steps in which nothing is left."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from menon.arrange import BestOf, BestWorst, CorrectOf, Varied
from menon.assembly.own_parts import own_arrange
from menon.batch import Batch
from menon.errors import NothingLearned, UserError
from menon.loop import Run, loop
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.record.layout import step_file
from menon.record.reader import RunView
from menon.shaping import KLInReward
from menon.types import Rollout, Verdict
from menon.update.terms import Term, Update
from tiny_run import Watching, even, online, opened, tiny_run, weights_of

CUT = "answers were cut at max_new_tokens"
"""Why rewards are equal, of a model that seldom ends a text."""
IMITATION = (Update({"policy": Term(NLL(), TokenMean())}),)


def arranged(part: Any, **settings: Any) -> Run:
    """Imitation of what the part chooses, four answers to each of three prompts a step."""
    run = tiny_run("reinforce", steps=2, **settings)
    online(run).around = replace(online(run).around, samples_per_prompt=4)
    return replace(run, plan=replace(run.plan, advantage={}, arrange=(part,), updates=IMITATION))


def test_the_record_says_what_was_learned_from(tmp_path):
    """And text is measured on all answers, correctness as the grader gave it."""
    with opened(tmp_path / "run") as folder:
        loop(arranged(BestWorst()), folder, Watching())
    line = RunView(tmp_path / "run").metrics[0]
    table = pq.read_table(step_file(tmp_path / "run" / "transcripts", 1)).to_pydict()
    size = [sum(is_action) for is_action in table["is_action"]]
    learned = table["learn"]
    assert line["arrange/learned"] == sum(learned)
    for group in range(3):
        rows = [row for row, number in enumerate(table["group"]) if number == group]
        scores = [table["score"][row] for row in rows]
        chosen = [row for row in rows if learned[row]]
        first = {rows[scores.index(max(scores))], rows[scores.index(min(scores))]}
        assert set(chosen) == (first if max(scores) > min(scores) else set())
    assert line["arrange/left_out"] == 3 - sum(learned) / 2
    assert line["len/mean"] == pytest.approx(sum(size) / 12)
    assert line["acc/mean"] == pytest.approx(sum(table["acc"]) / 12)
    assert line["reward/mean"] == pytest.approx(sum(table["score"]) / 12)


@pytest.mark.parametrize(
    ("part", "score", "said"),
    [
        (BestOf(), lambda rollout: 0.0, CUT),
        (CorrectOf(), lambda rollout: 0.0, CUT),
        (BestWorst(), lambda rollout: 1.0, CUT),
        (Varied(), lambda rollout: 1.0, CUT),
        (BestOf(min_reward=9), lambda rollout: rollout.tokens[-1] / 40, "left out all 3 groups of the step"),
    ],
)
def test_steps_that_keep_nothing_are_named_and_stop_the_run(part, score, said, tmp_path):
    """They are no updates of loss zero: the weights stay, and the run ends after ten of them."""

    def grade(rollout: Rollout) -> Verdict:
        found = float(score(rollout))
        return Verdict(found, found if found in (0, 1) else 0.0)

    run = replace(arranged(part, grade=grade), steps=12)
    before, watch = weights_of(run), Watching()
    with opened(tmp_path / "run") as folder, pytest.raises(NothingLearned, match="stopped after step 10"):
        loop(run, folder, watch)
    when = ("before step 1", "after step 2")  # once
    assert sum(said in one and any(place in one for place in when) for one in watch.sentences) == 1
    assert all((before[name] == weight).all() for name, weight in weights_of(run).items())
    line = RunView(tmp_path / "run").metrics[0]
    assert (line["arrange/learned"], line["arrange/left_out"]) == (0, 3)
    assert not any(name in line for name in ("loss/policy", "nll", "grad_norm"))


def test_an_advantage_that_reads_a_model_has_nothing_to_read(tmp_path):
    """Where nothing is learned, the reference scores nothing."""
    run = tiny_run("grpo", steps=1, grade=lambda rollout: Verdict(1.0, 1.0))
    assert isinstance(run.plan.advantage["kl"], KLInReward)
    run = replace(run, plan=replace(run.plan, arrange=(Varied(),)))
    with opened(tmp_path / "run") as folder:
        loop(run, folder, Watching())
    line = RunView(tmp_path / "run").metrics[0]
    assert line["arrange/learned"] == 0
    assert all(math.isfinite(value) for value in line.values() if isinstance(value, float))


# Parts of the user's


@dataclass(frozen=True)
class Shortest:
    """Keeps the first answer."""

    fault: str = ""

    def __call__(self, batch: Batch) -> Batch:
        learn = torch.zeros(batch.num_sequences, dtype=torch.bool)
        learn[0] = True
        wrong = {
            "ints": lambda: replace(batch, learn=learn.long()),
            "short": lambda: replace(batch, learn=learn[:-1]),
            "none": lambda: None,
        }
        return wrong[self.fault]() if self.fault else replace(batch, learn=learn)


def test_your_own_part_arranges(tmp_path):
    (part,) = own_arrange({"mine": Shortest()})
    with opened(tmp_path / "run") as folder:
        loop(arranged(part, grade=even), folder, Watching())
    line = RunView(tmp_path / "run").metrics[0]
    assert (line["arrange/learned"], line["arrange/left_out"]) == (1, 2)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("ints", "set `learn` to torch.int64, not to bools; compare, as in x > 0"),
        ("short", "one per answer"),
        ("none", "not a batch"),
    ],
)
def test_what_it_returns_is_checked(fault, said, tmp_path):
    (part,) = own_arrange({"mine": Shortest(fault)})
    with opened(tmp_path / "run") as folder, pytest.raises(UserError, match=r"arrange\.mine") as error:
        loop(arranged(part), folder, Watching())
    assert said in str(error.value)
