"""Runs that differ only in their seed, taken together: means with intervals, and differences seed by seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev
from typing import Any, Literal

import mpmath

from menon.record.reader import RunView
from menon.report.differences import differences
from menon.settings import setting

When = Literal["before", "after"]
WRITTEN, GIVEN = ("accuracy", "reward"), ("pairs/accuracy", "kto/accuracy", "nll")
"""What is measured of answers, and of given text alone."""
ctx = mpmath.MPContext()  # a separate context, because other code may set the precision of the shared one
ctx.dps = 30


@dataclass(frozen=True)
class Group:
    """Runs of one configuration with different seeds: an arm of a comparison."""

    name: str
    runs: tuple[RunView, ...]

    @property
    def finished(self) -> tuple[RunView, ...]:
        """The runs that count in means."""
        return tuple(run for run in self.runs if run.report is not None)

    def values(self, when: When, measure: str) -> list[float]:
        """A number of the held-out questions in each finished run; NaN where it is not known."""
        return [held_out(run, when, measure) for run in self.finished]

    def by_seed(self, measure: str) -> dict[int, float]:
        """Seed -> the number after training, the mean of runs with the same seed; known numbers only."""
        found: dict[int, list[float]] = {}
        for run in self.finished:
            value = held_out(run, "after", measure)
            if not math.isnan(value):
                found.setdefault(seed_of(run), []).append(value)
        return {seed: mean(values) for seed, values in found.items()}


def seed_of(run: RunView) -> int:
    return int(setting(run.settings, "seed", 0))


def tokens_of(run: RunView) -> float:
    """Tokens that the run has written in its steps."""
    return sum(float(line.get("tokens/generated") or 0) for line in run.metrics)


def evaluation(run: RunView, when: When) -> Mapping[str, Any]:
    """The numbers of the evaluation before the first step, or of the last one after a step; {} without."""
    if when == "before":
        return run.evaluation(0) or {}
    return next((line for line in reversed(run.evaluations) if line["step"] > 0), {})


def held_out(run: RunView, when: When, measure: str) -> float:
    value = evaluation(run, when).get(measure)
    return math.nan if value is None else float(value)


def groups_of(runs: Sequence[RunView]) -> list[Group]:
    """The runs in groups that differ in nothing but their seeds, in the order in which they are named. The
    name of a group is its recipe and the settings that make it different."""
    found = differences([run.settings for run in runs])
    members: dict[tuple[str, ...], list[RunView]] = {}
    for place, run in enumerate(runs):
        members.setdefault(tuple(repr(one.values[place]) for one in found), []).append(run)
    places = [runs.index(group[0]) for group in members.values()]
    names = [group_name(runs[place], [f"{one.name}={one.text(place)}" for one in found]) for place in places]
    if len(set(names)) < len(names):
        names = [run.name for run in (runs[place] for place in places)]
    return [
        Group(name, tuple(sorted(group, key=seed_of)))
        for name, group in zip(names, members.values(), strict=True)
    ]


def group_name(run: RunView, differing: Sequence[str], most: int = 48) -> str:
    """The recipe with the settings that differ; the name of the folder where that is too long."""
    own = [text for text in differing if not text.startswith("recipe=")]
    name = " ".join([str(setting(run.settings, "recipe") or run.name), *own])
    return name if len(name) <= most else run.name


def measures_of(groups: Iterable[Group]) -> tuple[str, ...]:
    """What is measured in the groups' runs: of answers, or of given text where no run writes any."""
    lines = [line for group in groups for run in group.runs for line in run.evaluations]
    given = tuple(key for key in GIVEN if any(key in line for line in lines))
    return given if given and not any(key in line for key in WRITTEN for line in lines) else WRITTEN


def measure_of(groups: Sequence[Group]) -> str:
    """What the groups are compared by: the first measure that every finished run knows, else the last."""
    runs = [run for group in groups for run in group.finished]
    keys = measures_of(groups)
    known = (key for key in keys if all(not math.isnan(held_out(run, "after", key)) for run in runs))
    return next(known, keys[-1])


def paired(group: Group, base: Group, measure: str) -> dict[int, float]:
    """Seed -> the group's number less that of `base` with the same seed, for seeds that both have."""
    mine, theirs = group.by_seed(measure), base.by_seed(measure)
    return {seed: value - theirs[seed] for seed, value in mine.items() if seed in theirs}


# Means and intervals


def mean_text(values: Sequence[float], digits: int = 3, sign: str = "") -> str:
    """The mean and, over two seeds or more, the half width of its 95 % interval.

    >>> mean_text([0.5, 0.7, 0.6]), mean_text([0.25], 2, "+")
    ('0.600 ± 0.248', '+0.25')
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    if len(known) < 2:
        return f"{known[0]:{sign}.{digits}f}"
    return f"{mean(known):{sign}.{digits}f} ± {half_width(known):.{digits}f}"


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean, by Student's t; infinite for a single value."""
    if len(values) < 2:
        return math.inf
    return t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))


@cache
def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with `freedom` degrees of freedom, to the precision of a float.

    It solves P(|T| > t) = I_x(freedom / 2, 1 / 2) = 5 % with x = freedom / (freedom + t^2), where I is the
    regularised incomplete beta function (Abramowitz and Stegun 26.7.1). The solution falls from 12.71 at one
    degree to 1.96.

    >>> round(t_quantile(2), 3)
    4.303
    """

    def excess(t: Any) -> Any:
        x = freedom / (freedom + t * t)
        return ctx.betainc(ctx.mpf(freedom) / 2, 0.5, 0, x, regularized=True) - ctx.mpf("0.05")

    return float(ctx.findroot(excess, (1.9, 13), solver="anderson"))
