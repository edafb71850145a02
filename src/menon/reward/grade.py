"""Grades finished answers."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from menon.reward.code.signatures import Asked, judge
from menon.reward.protocols import BatchReward, Reward
from menon.types import Prompt, Rollout, Verdict

Shows = Mapping[str, Callable[[str], bool]]
"""Behaviours that are looked for in an answer's text, by name, besides its reward (`Verdict.shows`)."""
GIVEN = ("prompt", "completion", "answer", "finish", "completion_ids")
"""Names that a reward gets from the answer; a row's column of such a name is not passed."""


@dataclass(frozen=True)
class Grading:
    """Gives each answer to one reward; never raises for what a model wrote.

    A truncated answer keeps the score that the reward gives it (docs/numerics.md, 3.4); a reward that should
    treat it differently reads `finish`. Several threads may grade: a reward, which may have a process of its
    own, is asked by one of them at a time.
    """

    reward: Reward
    shows: Shows = field(default_factory=dict)
    truth: Reward | None = None
    """What knows whether an answer is right where the reward does not say: the task that asked."""
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __call__(self, rollout: Rollout) -> Verdict:
        asked = asked_of(rollout)
        with self.turn:
            verdict = with_truth(judge(self.reward, "menon", asked), self.truth, asked)
        return seen(verdict, rollout.text, self.shows)

    def judge(
        self, prompt: Prompt, completion: str, finish: str = "stop", completion_ids: Sequence[int] = ()
    ) -> Verdict:
        """The verdict of an answer that no sampler wrote."""
        question = asked(prompt, completion, finish, completion_ids)
        with self.turn:
            return with_truth(judge(self.reward, "menon", question), self.truth, question)


@dataclass(frozen=True)
class BatchGrading(Grading):
    """Grading by a reward that is faster with many answers at once. It gets all answers of a step (or round)
    together, or, if its verdicts do not depend on each other, some at a time while others are written."""

    reward: BatchReward

    @property
    def apart(self) -> bool:
        """Whether a verdict depends on its own answer alone, bit for bit, and not on the others in the same
        call."""
        return bool(getattr(self.reward, "apart", False))

    def grade_all(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Verdicts in the order of the rollouts."""
        questions = [asked_of(rollout) for rollout in rollouts]
        with self.turn:
            verdicts = self.reward.many(questions)
            known = [with_truth(v, self.truth, asked) for v, asked in zip(verdicts, questions, strict=True)]
        return [seen(v, rollout.text, self.shows) for v, rollout in zip(known, rollouts, strict=True)]


def grading_of(reward: Reward, shows: Shows = MappingProxyType({}), truth: Reward | None = None) -> Grading:
    if isinstance(reward, BatchReward):
        return BatchGrading(reward, shows, truth)
    return Grading(reward, shows, truth)


def with_truth(verdict: Verdict, truth: Reward | None, asked: Asked) -> Verdict:
    """The verdict with the acc that `truth` gives, unless the reward stated one, failed, or does not
    apply."""
    unknown = verdict.guessed or math.isnan(verdict.acc)
    if truth is None or not unknown or math.isnan(verdict.score):
        return verdict
    return replace(verdict, acc=judge(truth, "menon", asked).acc, guessed=False)


def seen(verdict: Verdict, text: str, shows: Shows) -> Verdict:
    """The verdict with the behaviours that the answer shows; unchanged if none is looked for."""
    return (
        replace(verdict, shows={name: float(look(text)) for name, look in shows.items()})
        if shows
        else verdict
    )


def asked_of(rollout: Rollout) -> Asked:
    return asked(rollout.prompt, rollout.graded_text, rollout.finish, rollout.graded_tokens.tolist())


def asked(prompt: Prompt, completion: str, finish: str, completion_ids: Sequence[int]) -> Asked:
    columns = {name: value for name, value in prompt.columns.items() if name not in GIVEN}
    return Asked(prompt.text, completion, prompt.answer, columns, finish, list(completion_ids))
