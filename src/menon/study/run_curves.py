"""What a run had reached by when: its held-out score and its score in training against steps, tokens or
seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError
from menon.record.reader import RunView

At = Literal["steps", "tokens", "seconds"]
AXES: tuple[At, ...] = get_args(At)
SMOOTHED = 5
"""Steps over which the score in training is averaged before it is asked when it reached a level."""
ENOUGH = 4
"""Evaluations of every run, from which on they say when a level was reached."""


@dataclass(frozen=True)
class Curve:
    """A score against what was spent. Both arrays are [K], in order."""

    spent: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def end(self) -> float:
        return float(self.spent[-1])

    def at(self, budget: float) -> float:
        """The score after that much was spent, on the straight line between the two points around it."""
        return float(np.interp(budget, self.spent, self.score))

    def reached(self, level: float) -> float:
        """What was spent when the score first was at least `level`, on the same lines; infinite if never.

        >>> Curve(np.array([0.0, 10.0, 20.0]), np.array([0.0, 0.5, 0.3])).reached(0.4)
        8.0
        """
        there = np.flatnonzero(self.score >= level)
        if not len(there):
            return math.inf
        i = int(there[0])
        if i == 0:
            return float(self.spent[0])
        share = (level - self.score[i - 1]) / (self.score[i] - self.score[i - 1])
        return float(self.spent[i - 1] + share * (self.spent[i] - self.spent[i - 1]))


def spent(run: RunView, at: At) -> dict[int, float]:
    """Step -> what the run had spent when it was done; 0 for the start. Tokens are those that the policy
    wrote; seconds those of the steps, without evaluations and checkpoints. UserError: a step does not say."""
    found = {0: 0.0}
    name = {"tokens": "tokens/generated", "seconds": "time/step"}.get(at)
    total = 0.0
    for line in run.metrics:
        value = 1.0 if name is None else line.get(name)
        if value is None:
            raise UserError(f"{run.path} does not record {name} in step {line['step']}; compare at=steps")
        total = float(line["step"]) if name is None else total + float(value)
        found[int(line["step"])] = total
    return found


def held_out_curve(run: RunView, at: At, measure: str) -> Curve:
    """The evaluations of a run. UserError: none after a step knows the measure."""
    known = spent(run, at)
    points = {
        known[line["step"]]: float(line[measure])
        for line in run.evaluations
        if line.get(measure) is not None and line["step"] in known
    }
    if not any(place > 0 for place in points):
        raise UserError(
            f"{run.path} was not evaluated after a step yet, so it cannot be compared; wait for its end, or "
            "set evaluate_every"
        )
    return Curve(np.array(sorted(points)), np.array([points[place] for place in sorted(points)]))


def training_curve(run: RunView, at: At, measure: str) -> Curve | None:
    """The score in training, at each step the mean of the last `SMOOTHED` ones; None where a step does not
    know it."""
    name = {"accuracy": "acc/mean", "reward": "reward/mean"}.get(measure, measure)
    known = [line.get(name) for line in run.metrics]
    values = [float(value) for value in known if value is not None]
    if not values or len(values) < len(known):
        return None
    places = [spent(run, at)[int(line["step"])] for line in run.metrics]
    means = [float(np.mean(values[max(0, i + 1 - SMOOTHED) : i + 1])) for i in range(len(values))]
    return Curve(np.array(places), np.array(means))


def efficiency_curves(runs: Sequence[RunView], at: At, measure: str) -> tuple[str, list[Curve]]:
    """The curves of which it can be asked when they reached a level, one per run, and what they are of: the
    held-out questions if every run was evaluated often enough, else those of training."""
    held = [held_out_curve(run, at, measure) for run in runs]
    if all(len(curve.spent) >= ENOUGH for curve in held):
        return "held-out questions", held
    training = [training_curve(run, at, measure) for run in runs]
    if any(curve is None for curve in training):
        return "held-out questions", held
    return f"training questions, mean of {SMOOTHED} steps", [one for one in training if one is not None]
