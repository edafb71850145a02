"""Samplers that give neither entropies nor the mass that top-p kept: what does not read them is the
same, what reads them is refused."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from menon.batch import pack
from menon.columns import check_sampler
from menon.config import changed, setup_of
from menon.errors import UserError
from menon.loop import loop
from menon.recipes import ONLINE, recipe
from menon.record.metrics import summary
from menon.record.reader import RunView
from menon.rollout.groups import answer
from menon.rollout.protocols import OPTIONAL
from menon.rollout.turns import Turns
from menon.types import Completion, Request, Sampling, Verdict
from scripted import ScriptedSampler, question
from tiny_run import Watching, online, opened, tiny_run, weights_of


class Plain:
    """A sampler of which only tokens, text and log-probs are seen."""

    gives: frozenset[str] = frozenset()

    def __init__(self, whole: Any) -> None:
        self.whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    @contextmanager
    def open(self, keep: bool = False) -> Iterator[Any]:
        with self.whole.open(keep) as stream:
            yield PlainStream(stream)


class PlainStream:
    def __init__(self, stream: Any) -> None:
        self.stream, self.ask = stream, stream.ask

    def __iter__(self) -> Iterator[Completion]:
        for completion in self.stream:
            yield replace(completion, entropy=None, log_kept=None)


def right(rollout: Any) -> Verdict:
    return Verdict(1.0, 1.0)


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_run_that_reads_neither_learns_the_same(tmp_path, algorithm):
    metrics, weights = [], []
    for name in ("whole", "plain"):
        run = tiny_run(algorithm, steps=2)
        if name == "plain":
            online(run).sampler = Plain(online(run).sampler)  # type: ignore[assignment]
        with opened(tmp_path / name) as folder:
            loop(run, folder, Watching())
        weights.append(weights_of(run))
        metrics.append(RunView.open(tmp_path / name).metrics[-1])
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    missing = metrics[0].keys() - metrics[1].keys()
    assert {name for name in missing if not name.startswith("time/")} == {
        name for name in metrics[0] if name.startswith("entropy/") and name != "entropy/mc"
    }  # entropy/mc is estimated from log-probs
    assert metrics[0]["loss/policy"] == metrics[1]["loss/policy"]


@dataclass
class Echo:
    """Answers once, then ends."""

    heard: int = 0

    def reset(self, prompt: Any, seed: int) -> str:
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        self.heard += 1
        return "ok", 0.0, self.heard == 2


def letters(text: str, before: Any) -> Sequence[int]:
    return [ord(letter) for letter in text]


def test_turns_and_batches_leave_the_columns_out():
    sampler: Any = Plain(ScriptedSampler(lambda request: "ab"))
    requests = [Request(question(0), Sampling(9))]
    turns = Turns(Echo(), letters, lambda tokens: "".join(map(chr, tokens)))
    for graded in (answer(requests, [0], sampler, right), turns(requests, [0], sampler, right)):
        assert (graded[0].rollout.entropy, graded[0].rollout.log_kept) == (None, None)
        batch = pack(graded)
        assert (batch.entropy, batch.log_kept) == (None, None)
        assert summary(graded)["entropy"] == 1.0  # of answers whose tokens all have a log-prob of -1
        assert summary(graded)["mean_length"] == batch.is_action.sum()


def test_no_recipe_needs_them():
    for name in ONLINE:
        check_sampler(setup_of(recipe(name)), frozenset())


def test_a_part_that_reads_them_is_refused():
    config = changed(
        recipe("grpo"),
        {
            "objective.entropy": {"loss": "entropy", "share": "token_mean"},
            "advantage.steer": {"kind": "entropy_coefficient", "target": 0.3},
        },
    )
    check_sampler(setup_of(config), OPTIONAL)
    with pytest.raises(UserError) as raised:
        check_sampler(setup_of(config), frozenset({"log_kept"}))
    assert str(raised.value) == (
        "advantage.steer reads 'entropy', which this sampler does not give; choose a sampler that gives it, "
        "or a part that does without"
    )
