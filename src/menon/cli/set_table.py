"""A comparison of sets of runs as tables and sentences."""

from collections.abc import Sequence

from menon.report.several import Table
from menon.study.permutation import LEVEL
from menon.study.power import LARGEST
from menon.study.set_comparison import POWER, WHAT_TEST, SetComparison, usual


def set_lines(found: SetComparison) -> list[str]:
    """The lines of a comparison of sets."""
    first = found.sets[0]
    sets = Table(
        ("set", "runs", "mean", "95 % interval over seeds"),
        [(one.name, str(len(one.runs)), f"{one.mean:.3f}", ends(one.low, one.high)) for one in found.sets],
    )
    tests = Table(
        (f"against {first.name}", "difference", "95 % interval", "p", "ahead", "95 % interval", ""),
        [
            (
                one.name,
                f"{one.difference:+.3f}",
                ends(one.low, one.high, "+"),
                f"{one.p_holm:.3g}",
                f"{one.improvement:.2f}",
                f"{one.improvement_low:.2f} to {one.improvement_high:.2f}",
                "decided" if one.decided else "not decided",
            )
            for one in found.comparisons
        ],
    )
    return [
        f"menon compare  {found.measure} on held-out questions at {found.budget:,.0f} {found.at}",
        "",
        *indented(sets.aligned()),
        "",
        *indented(tests.aligned()),
        "",
        *(f"  {sentence}" for sentence in conclusions(found)),
        "",
        *indented(soon(found).aligned()),
        "",
        f"  {WHAT_TEST}.",
        *(f"  {sentence}." for sentence in found.notes),
    ]


def indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def ends(low: float | None, high: float | None, sign: str = "") -> str:
    """An interval; `-` where it is not known."""
    return "-" if low is None or high is None else f"{low:{sign}.3f} to {high:{sign}.3f}"


def conclusions(found: SetComparison) -> list[str]:
    """A sentence for each comparison: what is decided, by which test, or how many seeds would decide."""
    lines = []
    counts = {one.name: len(one.runs) for one in found.sets}
    for one in found.comparisons:
        a, b = counts[one.against], counts[one.name]
        statistic = "Welch's statistic" if min(a, b) > 1 else "difference of means"
        how = "seeds paired, signs of the differences" if one.paired else f"runs dealt out anew, {statistic}"
        test = f"{how}, {'all' if one.exact else 'a sample of the'} arrangements"
        if one.decided:
            less = one.difference < 0
            lines.append(f"{one.name} is {'below' if less else 'above'} {one.against}: decided ({test})")
            continue
        said = f"{one.name} against {one.against}: not decided ({test})"
        if one.least_p * len(found.comparisons) > LEVEL:
            said += f"; {a} against {b} runs can decide nothing, their least p is {one.least_p:.2g}"
        if one.seeds_to_decide is not None:
            said += f"; about {one.seeds_to_decide} seeds a side would decide {POWER}"
        elif min(a, b) > 1:
            said += f"; not even {LARGEST} seeds a side would decide {POWER}"
        lines.append(said)
    return lines


def soon(found: SetComparison) -> Table:
    """The table of what the sets spent until they reached the level."""
    axes = list(found.sets[0].reached)
    rows = []
    for one in found.sets:
        there = sum(value is not None for value in one.reached[found.at])
        middles = [usual(one.reached[axis]) for axis in axes]
        cells = ["never" if value is None else f"{value:,.0f}" for value in middles]
        rows.append((one.name, f"{there} of {len(one.runs)}", *cells))
    return Table((f"to reach {found.level:.3f} ({found.level_of})", "runs", *axes), rows)
