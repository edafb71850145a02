"""A sign that a run loses what it had learned: its last evaluation is below an earlier one, by more than
chance. The limits are this project's, not a paper's. Where the answers of both evaluations are stored, the
same questions are compared with themselves.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from menon.errors import UserError
from menon.intervals import NORMAL
from menon.record.reader import StepFiles
from menon.record.sign import Sign
from menon.settings import setting

ALARMS = 0.05
"""Most of the runs that lose nothing in which this may be said, over all their evaluations."""
PART = 0.25
"""Share of what was gained since the first evaluation that a loss must take away."""

Line = Mapping[str, Any]
Scores = Mapping[Any, float]
"""What the answers to each question earned, on average."""


def lost(evaluations: Sequence[Line], settings: Mapping[str, Any], answers: StepFiles | None) -> Sign | None:
    """The accuracy on held-out questions (the reward, where accuracy is not known) has fallen since some
    earlier evaluation, by a quarter of the gain at least and by more than chance. None with one evaluation.

    Chance: the j-th evaluation is compared with the j - 1 before it, each at the level .05 / (j^2 (j - 1)),
    so over a run of any length the levels add up to at most .033.
    """
    name = next(
        (n for n in ("accuracy", "reward") if all(value(e, n) is not None for e in evaluations)), None
    )
    if name is None or len(evaluations) < 2:
        return None
    *earlier, now = evaluations
    best = max(earlier, key=lambda line: line[name])
    fall, gain = best[name] - now[name], best[name] - evaluations[0][name]
    if fall <= PART * gain or fall <= 0:
        return None
    column = {"accuracy": "acc", "reward": "score"}[name]
    difference = errors_between(best, now, name, lambda line: scores_of(answers, line["step"], column))
    looks = len(evaluations)
    if difference is None or tail(difference) > ALARMS / (looks**2 * (looks - 1)):
        return None
    when, again = "before step 1", ""
    if step := best["step"]:
        when, again = f"after step {step}", f"begin again from the checkpoint of step {step}, and "
    return Sign(
        "lost",
        f"the {name} on {now.get('n', 0):.0f} held-out questions was {best[name]:.3g} {when} and is "
        f"{now[name]:.3g} after step {now['step']}, {difference:.1f} standard errors less: the run loses "
        f"what {'it had learned' if gain > 0 else 'the model could'}",
        f"{again}lower learning_rate, now {setting(settings, 'learning_rate')}",
    )


def errors_between(before: Line, now: Line, name: str, scores: Callable[[Line], Scores]) -> float | None:
    """By how many standard errors a number has fallen between two evaluations: question by question where the
    answers of both are stored, else from their intervals. None where neither is known."""
    first, last = scores(before), scores(now)
    if first and first.keys() == last.keys():
        return errors_paired([first[key] - last[key] for key in first])
    ends = [value(line, f"{name}_{end}") for line in (before, now) for end in ("low", "high")]
    if any(end is None for end in ends):
        return None
    low, high, low_now, high_now = (float(end) for end in ends if end is not None)
    error = math.hypot(high - low, high_now - low_now) / (2 * NORMAL)
    return float(before[name] - now[name]) / error if error else None


def errors_paired(falls: Sequence[float]) -> float:
    """The sum of the falls over its standard error if each could as well have been a rise: sum d / sqrt(sum
    d^2), with half a step taken off the sum because it moves in steps of twice the smallest d. With one
    answer to each question this is McNemar's test with Edwards's correction.

    >>> errors_paired([1.0] * 12 + [-1.0] * 4 + [0.0] * 84)
    1.75
    """
    moved = [abs(one) for one in falls if one]
    if not moved:
        return 0.0
    return max(sum(falls) - min(moved), 0.0) / math.sqrt(sum(one * one for one in moved))


def tail(errors: float) -> float:
    """The probability that a normal number is so many standard errors above its mean.

    >>> round(tail(1.959964), 4)
    0.025
    """
    return math.erfc(errors / math.sqrt(2)) / 2


def scores_of(answers: StepFiles | None, step: int, column: str) -> Scores:
    """Question -> the mean of a column over its answers in an evaluation; {} where they are not stored, or
    one is not known."""
    if answers is None or step not in answers.steps:
        return {}
    found: dict[Any, list[float]] = defaultdict(list)
    with suppress(UserError, OSError, LookupError, TypeError, ValueError):  # a damaged file is not stored
        for row in answers.rows(step, ["prompt_index", column]):
            found[row["prompt_index"]].append(row[column])
    means = {question: sum(values) / len(values) for question, values in found.items()}
    return means if all(map(math.isfinite, means.values())) else {}


def value(line: Line, name: str) -> float | None:
    """A number of an evaluation; None where it has none, or one that is not finite."""
    found = line.get(name)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None
