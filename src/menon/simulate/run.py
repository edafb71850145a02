"""One simulated run: the real loop and the real asynchronous source on a simulated clock."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from menon.advantage import Reinforce
from menon.loop import Run, loop
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.parts import Around
from menon.record.folder import RunFolder
from menon.rollout.groups import Groups
from menon.simulate.learner import SimulatedChannel, SimulatedHost
from menon.simulate.samplers import Length, SimulatedSampler, Speed
from menon.simulate.world import OnClock, World
from menon.source.asynchronous import Asynchronous
from menon.source.online import Online
from menon.step import Plan
from menon.types import Prompt, Rollout, Sampling, StepReport, Verdict
from menon.update.terms import Term, Update

UNLIMITED = 2**30


@dataclass(frozen=True)
class Cluster:
    """What writes and what learns."""

    samplers: int
    speed: Speed
    update_seconds: float
    """Seconds of an update besides those of its tokens."""
    learn_seconds: float
    """Seconds for each token of a step, prompts included, of all learners together."""
    publish_seconds: float
    """Seconds of a publication, and of what else happens between two steps."""


@dataclass(frozen=True)
class Work:
    """What is written in a step."""

    prompts: int
    samples: int
    prompt_tokens: int
    length: Length
    steps: int


@dataclass(frozen=True)
class Found:
    """What a simulated run says, over its steps after those in which the queue fills."""

    seconds: float
    """Of the whole run."""
    step: float
    """Seconds of a step."""
    answers: float
    """Learned from, a second."""
    tokens: float
    """Of answers, learned from, a second."""
    sampler_idle: float
    """Share of the time for which a sampler has nothing to write."""
    slots_empty: float
    """Share of the time for which a slot is empty."""
    learner_idle: float
    staleness: float
    """Versions, mean over the tokens."""
    oldest: int


class Endless:
    """Prompts 0, 1, 2, ..."""

    def __init__(self, tokens: int) -> None:
        self.tokens = np.array([tokens], dtype=np.int32)
        self.taken = 0

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        self.taken += count
        return [(Prompt(index, self.tokens, ""), 0) for index in range(self.taken - count, self.taken)]

    def state(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load(self, state: dict[str, Any]) -> None:
        self.taken = state["taken"]


class Counting:
    """A watcher that measures."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: list[int] = []
        self.tokens: list[int] = []
        self.ages: list[float] = []
        self.oldest = 0

    def started(self, folder: Path, first_step: int, steps: int) -> None: ...

    def evaluated(self, step: int, numbers: Mapping[str, Any]) -> None: ...

    def notify(self, sentence: str) -> None: ...

    def finished(self, report: Mapping[str, Any]) -> None: ...

    def stepped(self, report: StepReport) -> None:
        """A token stands for as many as its number says."""
        rollouts = [graded.rollout for graded in report.graded]
        size = np.concatenate([one.tokens[one.is_action] for one in rollouts]).astype(np.int64)
        age = report.step - 1 - np.concatenate([one.version[one.is_action] for one in rollouts])
        self.answers.append(len(rollouts))
        self.tokens.append(int(size.sum()))
        self.ages.append(float((size * age).sum() / size.sum()))
        self.oldest = max(self.oldest, int(age.max()))
        self.world.mark()


def simulate(cluster: Cluster, work: Work, staleness: int) -> Found:
    """Simulates one run. It depends on its arguments alone."""
    world = World()
    sampler = SimulatedSampler(world, cluster.samplers, cluster.speed, work.length)
    around = Around(work.prompts, work.samples, Sampling(max_new_tokens=UNLIMITED))
    online = Online(Endless(work.prompt_tokens), sampler, Groups(), ungraded, around)
    run = Run(
        plan=Plan({"credit": Reinforce()}, (Update({"policy": Term(PolicyGradient(), TokenMean())}),), 0),
        source=Asynchronous(online, staleness, work.steps, OnClock(world)),
        host=SimulatedHost(world, cluster.update_seconds, cluster.learn_seconds),
        channel=SimulatedChannel(world, sampler, cluster.publish_seconds),
        steps=work.steps,
        stop_without_signal=False,
    )
    counted = Counting(world)
    with tempfile.TemporaryDirectory(prefix="menon-simulate-") as path:
        with RunFolder.create(Path(path) / "run", {"seed": 0}) as folder:
            loop(run, folder, counted)
        run.source.close()
    return measured(world, counted, cluster, staleness)


def ungraded(rollout: Rollout) -> Verdict:
    return Verdict(0.0, 0.0)


def measured(world: World, counted: Counting, cluster: Cluster, staleness: int) -> Found:
    """The first step, and as many as the queue takes to fill, are not counted."""
    first = min(staleness, len(world.marks) - 2)
    now, learning, sampling, slots = (
        end - begin for begin, end in zip(world.marks[first], world.marks[-1], strict=True)
    )
    steps = len(world.marks) - 1 - first
    tokens = sum(counted.tokens[first + 1 :])
    return Found(
        seconds=world.now,
        step=now / steps,
        answers=sum(counted.answers[first + 1 :]) / now,
        tokens=tokens / now,
        sampler_idle=max(0.0, 1 - sampling / (now * cluster.samplers)),
        slots_empty=max(0.0, 1 - slots / (now * cluster.samplers * cluster.speed.slots)),
        learner_idle=max(0.0, 1 - learning / now),
        staleness=sum(
            age * size
            for age, size in zip(counted.ages[first + 1 :], counted.tokens[first + 1 :], strict=True)
        )
        / tokens,
        oldest=counted.oldest,
    )
