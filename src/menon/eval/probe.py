"""What a model reaches without training, by its best temperature and by a majority vote. RL must beat these
numbers to have done more than sharpen the distribution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from menon.eval.metrics import average
from menon.eval.run import AnswerEquivalence, Evaluation, items_of, vote
from menon.rollout.protocols import Sampler
from menon.truth import settled
from menon.types import Graded, Request

TEMPERATURES = (0.0, 0.3, 0.6)
"""Temperatures that are tried besides 1."""
VOTES = 8
"""How many answers at temperature 1 vote."""


@dataclass(frozen=True)
class Probe:
    """The first `questions` of an evaluation, answered once at each of `TEMPERATURES` and `VOTES` times at
    temperature 1.

    The first of the `VOTES` answers is the evaluation's own answer, drawn again.
    """

    evaluation: Evaluation
    questions: int
    equivalence: AnswerEquivalence | None = None
    """None where answers cannot be compared; then there is no vote."""

    def __call__(self, sampler: Sampler) -> dict[str, Any]:
        """probe_n questions, best_reward and best_reward_temperature (the lowest of equal ones); where
        correctness is known also accuracy_at (temperature -> accuracy), best_accuracy and best_temperature,
        and maj_at_8 where there is a vote. Answers without such a number are in no mean; with none that has a
        score: {}."""
        prompts = self.evaluation.prompts[: self.questions]
        kinds = [*(1.0 for _ in range(VOTES)), *TEMPERATURES]
        requests = [
            Request(
                prompt,
                replace(self.evaluation.sampling, temperature=kind),
                sample,
                purpose="evaluate",
                seed=self.evaluation.seed,
            )
            for prompt in prompts
            for sample, kind in enumerate(kinds)
        ]
        groups = [place // len(kinds) for place in range(len(requests))]
        graded = settled(self.evaluation.answer(requests, groups, sampler, self.evaluation.grade))
        columns = [graded[place :: len(kinds)] for place in range(len(kinds))]
        at = {kind: columns[VOTES + place] for place, kind in enumerate(TEMPERATURES)}
        at[1.0] = [g for column in columns[:VOTES] for g in column]
        rewards, known = means(at, "score"), means(at, "acc")
        numbers: dict[str, Any] = {"probe_n": float(len(prompts))} if rewards else {}
        if rewards:
            numbers["best_reward_temperature"], numbers["best_reward"] = best_of(rewards)
        if not known:
            return numbers
        numbers["best_temperature"], numbers["best_accuracy"] = best_of(known)
        numbers["accuracy_at"] = {f"{kind:g}": value for kind, value in known.items()}
        return numbers | (
            {} if self.equivalence is None else {"maj_at_8": majority_of(columns[:VOTES], self.equivalence)}
        )


def means(at: Mapping[float, Sequence[Graded]], of: Literal["score", "acc"]) -> dict[float, float]:
    """Temperature -> mean over its answers, where one has such a number."""
    found = {
        kind: average(np.array([getattr(g.verdict, of) for g in graded], dtype=np.float64))
        for kind, graded in at.items()
    }
    return {kind: value for kind, value in found.items() if value == value}


def best_of(at: Mapping[float, float]) -> tuple[float, float]:
    """The best temperature, the first of equal ones, and its number."""
    best = max(at, key=lambda kind: at[kind])
    return best, at[best]


def majority_of(columns: Sequence[Sequence[Graded]], equivalence: AnswerEquivalence) -> float:
    """maj@8: the mean over the questions whose samples could all be graded; 0 if there is no such
    question."""
    flat = [g for row in zip(*columns, strict=True) for g in row]
    votes = np.array([vote(item, len(columns)) for item in items_of(flat, len(columns), equivalence)])
    known = votes[~np.isnan(votes)]
    return float(known.mean()) if len(known) else 0.0
