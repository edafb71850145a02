"""Sets of runs over seeds, each compared with the first: is one method better, by how much, how surely, how
soon, and if that is not decided, how many seeds would decide."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from menon.errors import UserError
from menon.report.charts import TONES_IN_TURN, Axis, Band, Chart, Line
from menon.study import permutation
from menon.study.permutation import LEVEL, PAIRS
from menon.study.power import WANTED, Effect, seeds_needed
from menon.study.run_curves import AXES, At, Curve, efficiency_curves, held_out_curve
from menon.study.seeds import Group, half_width, measures_of, seed_of

POINTS = 41
"""Places at which the curves of a set are averaged for a figure."""
FALLS = ("nll",)
"""Measures of which less is better."""


@dataclass(frozen=True)
class SetLine:
    """One set of runs."""

    name: str
    runs: list[str]
    """Folders."""
    seeds: list[int]
    values: list[float]
    """The score of each run when it had spent the budget."""
    mean: float
    low: float | None
    """Ends of the 95 % interval of the mean over seeds, by Student's t; None with one run."""
    high: float | None
    reached: dict[str, list[float | None]]
    """steps, tokens, seconds -> what each run had spent at the level; None: it never reached it."""


@dataclass(frozen=True)
class Against:
    """A set compared with the first one."""

    name: str
    against: str
    paired: bool
    difference: float
    """Mean of this set less that of the first."""
    low: float | None
    high: float | None
    p: float
    p_holm: float
    """p after Holm's correction for the number of sets."""
    exact: bool
    """Whether the test went through all arrangements of the runs."""
    least_p: float
    """The smallest p that this many runs can give."""
    improvement: float
    """Probability that a run of this set has a larger number than one of the first."""
    improvement_low: float
    improvement_high: float
    decided: bool
    seeds_to_decide: int | None
    """Seeds a side that would find a difference of the measured size with a probability of 80 %; None: more
    than are looked at, or nothing to estimate from."""


@dataclass(frozen=True)
class SetComparison:
    """Everything that `menon compare` says of sets of runs."""

    measure: str
    at: At
    budget: float
    """What every run had spent when the scores were taken."""
    level: float
    """The score that `SetLine.reached` is about: the lowest of the sets' means at the budget."""
    level_of: str
    """The questions that the level is of."""
    sets: list[SetLine]
    comparisons: list[Against]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain data for JSON; its schema is in docs/comparing.md."""
        return asdict(self)


def compare_sets(groups: Sequence[Group], at: At = "steps") -> SetComparison:
    """Compares each set with the first. UserError: fewer than two sets, a run in two of them, a run that was
    not evaluated."""
    check(groups, at)
    measure = shared_measure(groups)
    curves = [[held_out_curve(run, at, measure) for run in group.runs] for group in groups]
    budget = min(curve.end for of_set in curves for curve in of_set)
    values = [[curve.at(budget) for curve in of_set] for of_set in curves]
    level_of, level, reached = efficiency(groups, measure, at, budget)
    sets = [
        line(group, numbers, spent) for group, numbers, spent in zip(groups, values, reached, strict=True)
    ]
    drafts = [
        against(sets[0], one, groups[0], group) for one, group in zip(sets[1:], groups[1:], strict=True)
    ]
    return SetComparison(
        measure=measure,
        at=at,
        budget=budget,
        level=level,
        level_of=level_of,
        sets=sets,
        comparisons=settled(drafts, sets),
        notes=notes(groups, curves, at, budget),
    )


def check(groups: Sequence[Group], at: str) -> None:
    """UserError for what cannot be compared."""
    if at not in AXES:
        raise UserError(f"at is {at}; it takes steps, tokens or seconds")
    if len(groups) < 2:
        raise UserError(
            "these runs are one set (they differ in nothing but their seeds); name two sets, with commas "
            "between the runs of each: menon compare a-0,a-1,a-2 b-0,b-1,b-2"
        )
    places = [run.path.resolve() for group in groups for run in group.runs]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} is named twice; leave one of them out")


def shared_measure(groups: Sequence[Group]) -> str:
    """The first measure that an evaluation after a step of every run knows."""
    runs = [run for group in groups for run in group.runs]
    keys = measures_of(groups)
    for key in keys:
        if all(any(e["step"] > 0 and e.get(key) is not None for e in run.evaluations) for run in runs):
            return key
    return keys[-1]


def line(group: Group, values: list[float], reached: dict[str, list[float | None]]) -> SetLine:
    """The numbers of one set."""
    half = half_width(values) if len(values) > 1 else None
    return SetLine(
        name=group.name,
        runs=[str(run.path) for run in group.runs],
        seeds=[seed_of(run) for run in group.runs],
        values=values,
        mean=mean(values),
        low=None if half is None else mean(values) - half,
        high=None if half is None else mean(values) + half,
        reached=reached,
    )


# Against the first set


def paired_places(a: SetLine, b: SetLine) -> list[tuple[int, int]]:
    """Places of the runs with the same seed, if every seed of one set is once in the other, and there are
    enough of them for signs to decide anything; [] otherwise."""
    same = len(set(a.seeds)) == len(a.seeds) and sorted(a.seeds) == sorted(b.seeds)
    if not same or len(a.seeds) < PAIRS:
        return []
    return [(place, b.seeds.index(seed)) for place, seed in enumerate(a.seeds)]


def against(first: SetLine, one: SetLine, base: Group, group: Group) -> Against:
    """The comparison, before it is known how many others there are."""
    pairs = paired_places(first, one)
    a, b = np.array(first.values), np.array(one.values)
    if pairs:
        a, b = a[[x for x, _ in pairs]], b[[y for _, y in pairs]]
    found = permutation.compared(a[None], b[None], bool(pairs))
    ahead, low, high = permutation.improvement(a, b, bool(pairs))
    ends = [None if math.isnan(end) else float(end) for end in (found.low[0], found.high[0])]
    return Against(
        name=one.name,
        against=first.name,
        paired=bool(pairs),
        difference=float(found.difference[0]),
        low=ends[0],
        high=ends[1],
        p=float(found.p[0]),
        p_holm=float(found.p[0]),
        exact=permutation.is_exact(len(a), len(b), bool(pairs)),
        least_p=permutation.least_p(len(a), len(b), bool(pairs)),
        improvement=ahead,
        improvement_low=low,
        improvement_high=high,
        decided=bool(found.claimed()[0]),
        seeds_to_decide=None,
    )


def settled(drafts: Sequence[Against], sets: Sequence[SetLine]) -> list[Against]:
    """The comparisons with corrected p values, and with the seeds that would decide the undecided ones."""
    corrected = permutation.holm([one.p for one in drafts])
    found = []
    for one, p, line in zip(drafts, corrected, sets[1:], strict=True):
        decided = one.decided and p <= LEVEL
        seeds = None if decided else seeds_for(one, sets[0], line, LEVEL / len(drafts))
        found.append(Against(**{**vars(one), "p_holm": p, "decided": decided, "seeds_to_decide": seeds}))
    return found


def seeds_for(one: Against, first: SetLine, line: SetLine, level: float) -> int | None:
    """Seeds a side that would find the measured difference, at the level that the smallest of the p values
    must reach; None where a spread is not known, or there is no difference."""
    if min(len(first.values), len(line.values)) < 2 or one.difference == 0:
        return None
    if one.paired:
        order = [y for _, y in paired_places(first, line)]
        deviation = stdev(line.values[y] - x for x, y in zip(first.values, order, strict=True))
        return seeds_needed(Effect(one.difference, deviation, 0.0, True), level)
    return seeds_needed(Effect(one.difference, stdev(first.values), stdev(line.values), False), level)


# How soon


def efficiency(
    groups: Sequence[Group], measure: str, at: At, budget: float
) -> tuple[str, float, list[dict[str, list[float | None]]]]:
    """The questions that the level is of, the level, and for each set what its runs had spent when they
    reached it, by axis."""
    runs = [run for group in groups for run in group.runs]
    level_of, curves = efficiency_curves(runs, at, measure)
    if measure in FALLS:
        curves = [Curve(curve.spent, -curve.score) for curve in curves]
    level = min(mean(curve.at(budget) for curve in of_set) for of_set in parted(curves, groups))
    found: list[dict[str, list[float | None]]] = [{} for _ in groups]
    for axis in AXES:
        try:
            _, curves = efficiency_curves(runs, axis, measure)
        except UserError:  # an earlier menon did not record it
            continue
        for place, of_set in enumerate(parted(curves, groups)):
            signed = [Curve(c.spent, -c.score if measure in FALLS else c.score) for c in of_set]
            places = [curve.reached(level) for curve in signed]
            found[place][axis] = [None if math.isinf(one) else one for one in places]
    return level_of, -level if measure in FALLS else level, found


def parted(curves: Sequence[Curve], groups: Sequence[Group]) -> list[Sequence[Curve]]:
    """The curves of all runs, set by set."""
    ends = np.cumsum([0, *(len(group.runs) for group in groups)])
    return [curves[start:end] for start, end in pairwise(ends)]


def usual(values: Sequence[float | None]) -> float | None:
    """The median, where a run that never reached the level counts as later than all others."""
    middle = median(math.inf if value is None else value for value in values)
    return None if math.isinf(middle) else middle


# What a reader must know


def notes(groups: Sequence[Group], curves: Sequence[Sequence[Curve]], at: At, budget: float) -> list[str]:
    """Sentences about what limits the comparison."""
    found = []
    between = sum(budget not in curve.spent for of_set in curves for curve in of_set)
    if between:
        found.append(
            f"{between} of the runs were not evaluated at {budget:,.0f} {at}; their scores lie on the line "
            "between the evaluations before and after (set evaluate_every for closer ones)"
        )
    for group in groups:
        seeds = [seed_of(run) for run in group.runs]
        if len(set(seeds)) < len(seeds):
            found.append(f"runs of {group.name} have the same seed, so they are not independent")
        unfinished = [run.name for run in group.runs if run.report is None]
        if unfinished:
            found.append(f"not finished: {', '.join(unfinished)}")
    if any(len(group.runs) == 1 for group in groups):
        found.append(
            "a set of one run has no spread over seeds, so nothing can be decided; train it with more seeds"
        )
    return found


# A figure


def chart(found: SetComparison, groups: Sequence[Group]) -> Chart:
    """The mean curve of each set, with the 95 % interval over seeds, up to what the shortest run spent."""
    lines, bands = [], []
    for place, group in enumerate(groups):
        tone = TONES_IN_TURN[place % len(TONES_IN_TURN)]
        curves = [held_out_curve(run, found.at, found.measure) for run in group.runs]
        start = max(float(curve.spent[0]) for curve in curves)
        own = {float(x) for curve in curves for x in curve.spent if start <= x <= found.budget}
        places = sorted(own) if len(own) <= POINTS else np.linspace(start, found.budget, POINTS).tolist()
        values = [[curve.at(x) for curve in curves] for x in places]
        lines.append(Line(group.name, [(x, mean(of)) for x, of in zip(places, values, strict=True)], tone))
        if len(curves) > 1:
            halves = [(x, mean(of), half_width(of)) for x, of in zip(places, values, strict=True)]
            bands.append(Band("", [(x, middle - h, middle + h) for x, middle, h in halves], tone))
    return Chart(
        title=f"{found.measure}, held out",
        lines=tuple(lines),
        bands=tuple(bands),
        up=Axis(),
        across=Axis(found.at),
        note="Means over seeds with 95 % intervals.",
    )


WHAT_TEST = (
    "A difference is decided if the permutation test over seeds gives p <= 5 % after Holm's correction, and "
    "the 95 % bootstrap interval of the difference does not hold 0"
)
POWER = f"with a probability of {WANTED:.0%}, if the difference and the spreads are as measured"
