"""`menon compare`: two evaluations question by question, or sets of runs over their seeds."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import NO_OPTION, understand, wants_json
from menon.errors import UserError
from menon.record.layout import SWEEP, Layout

if TYPE_CHECKING:
    from menon.eval.compare import Comparison
    from menon.study.run_curves import At
    from menon.study.seeds import Group
    from menon.study.set_comparison import SetComparison

LATER = {"max_turns": 16, "graded_text": "policy"}
"""Settings that older results lack, with their defaults."""
USAGE = (
    "compare takes two results of `menon eval`, one run or more, or sets of runs with commas between their "
    "runs: menon compare A.json B.json, menon compare RUN, or menon compare a-0,a-1,a-2 b-0,b-1,b-2"
)
NO_SEEDS = "one run a side: this is about the choice of questions, and says nothing about other seeds"


def compare(words: Sequence[str]) -> int:
    """Compares two evaluations question by question, or sets of runs over their seeds.

    Two results of `menon eval`, the last evaluations of two runs, or those of one run before its first step
    and after its last: the difference with a paired interval, and McNemar's test.

    Sets of runs, with commas between the runs of a set, or the folder of a sweep, or three runs and more,
    of which those that differ only in their seed are one set: each set against the first, when every run had
    done the same number of steps (at=tokens, at=seconds: had spent as much), with a permutation test over
    seeds, the probability of improvement, when a level was reached, and how many seeds would decide.

    out=FILE.svg draws the curves. --json prints JSON alone; with json=true, or where stdout is no terminal,
    the last line is JSON.
    """
    rest, alone = json_alone(words)
    found = understand(rest, no_option=NO_OPTION)
    settings = found.settings
    as_json = wants_json(settings) or alone
    at, out = settings.pop("at", None), settings.pop("out", None)
    if not found.plain or settings:
        raise UserError(USAGE)
    if at is not None and at not in ("steps", "tokens", "seconds"):
        raise UserError(f"at is {at}; it takes steps, tokens or seconds")
    groups = sets_of(found.plain)
    if groups is None or all(len(group.runs) == 1 for group in groups):
        lines, numbers = by_question(found.plain, groups, at)
    else:
        from menon.study.set_comparison import compare_sets

        compared = compare_sets(groups, at or "steps")
        lines, numbers = set_lines(compared), compared.as_json()
    if out is not None:
        lines = [*lines, f"  the curves are in {drawn(Path(out), groups, at or 'steps')}"]
    if not alone:
        print("\n".join(lines))
    if as_json:
        print_json(numbers)
    return 0


# The sets


def sets_of(words: Sequence[str]) -> "list[Group] | None":
    """The sets of runs that the words name; None for results of `menon eval`, or one run."""
    if len(words) == 1 and (Path(words[0]) / SWEEP).exists():
        from menon.cli.report import groups_of_folders

        return groups_of_folders([Path(words[0])])
    parts = [[word] if Path(word).exists() else word.split(",") for word in words]
    runs = all(Layout(Path(one)).about.exists() for part in parts for one in part)
    if all(len(part) == 1 for part in parts) and (len(words) == 1 or (len(words) == 2 and not runs)):
        return None
    if not runs and all(len(part) == 1 for part in parts):
        raise UserError(USAGE)
    from menon.cli.report import groups_of_folders
    from menon.record.reader import RunView
    from menon.study.seeds import Group, seed_of

    if len(words) > 2 and all(len(part) == 1 for part in parts):
        return groups_of_folders([Path(word) for word in words])
    views = [[RunView.open(one) for one in part if one] for part in parts]
    return [
        Group(name, tuple(sorted(part, key=seed_of)))
        for name, part in zip(set_names(parts), views, strict=True)
    ]


def set_names(parts: Sequence[Sequence[str]]) -> list[str]:
    """A name for each set: what the names of its folders begin with, or a letter where that is not enough.

    >>> set_names([["runs/a-0", "runs/a-1"], ["runs/b-0", "runs/b-1"]]), set_names([["x0", "y1"], ["z"]])
    (['a', 'b'], ['A', 'z'])
    """
    names = []
    for place, part in enumerate(parts):
        names_of = [Path(one).name for one in part]
        places = zip(*names_of, strict=False)
        common = "".join(letters[0] for letters in takewhile(lambda letters: len({*letters}) == 1, places))
        common = common.rstrip("0123456789") if len(part) > 1 else names_of[0]
        names.append(common.rstrip("-_. ") or chr(ord("A") + place))
    return names if len(set(names)) == len(names) else [chr(ord("A") + place) for place in range(len(parts))]


def drawn(file: Path, groups: "list[Group] | None", at: "At") -> Path:
    """Draws the curves of the sets. UserError: there are no runs to draw, or no such folder."""
    if groups is None:
        raise UserError("out= draws the curves of runs; leave it out for results of `menon eval`")
    if file.suffix != ".svg" or file.is_dir() or not file.parent.is_dir():
        raise UserError(f"out is {file}; name an .svg file in a folder that exists")
    from menon.record import disk
    from menon.report.charts import picture
    from menon.study.set_comparison import chart, compare_sets

    disk.write(file, picture(chart(compare_sets(groups, at), groups)).encode())
    return file


# One run a side: over questions


def by_question(
    words: Sequence[str], groups: "list[Group] | None", at: "At | None"
) -> tuple[list[str], dict[str, Any] | list[dict[str, Any]]]:
    """The comparison of evaluations, each with the first, as lines and as plain data."""
    from menon.eval.compare import compare_results as compared
    from menon.eval.stored import read_items, read_pair
    from menon.record.reader import RunView

    if groups is None or len(groups) < 2:
        if at is not None:
            for word in words:
                RunView.open(word)
            raise UserError("at= is for runs that are compared with each other; leave it out")
        results, names = list(read_pair([Path(word) for word in words])), (list(words) * 2)[:2]
    else:
        runs = [group.runs[0] for group in groups]
        steps = [None] * len(runs) if at is None else steps_at(groups, at)
        results = [read_items(run.path, step=step) for run, step in zip(runs, steps, strict=True)]
        names = [str(run.path) for run in runs]
    found = [compared(results[0][1], items) for _, items in results[1:]]
    lines: list[str] = []
    for one, name, (about, _) in zip(found, names[1:], results[1:], strict=True):
        lines += [*([""] if lines else []), *verdict(one, (names[0], name), (results[0][0], about))]
    if groups is not None:
        lines.append(f"  {NO_SEEDS}")
    if len(found) == 1:
        return lines, vars(found[0])
    from menon.study.permutation import holm

    corrected = holm([one.p for one in found])
    said = ", ".join(f"{Path(name).name} {p:.3g}" for name, p in zip(names[1:], corrected, strict=True))
    lines.append(f"  p after Holm's correction for {len(found)} comparisons: {said}")
    return lines, [
        {"run": name, "against": names[0], **vars(one), "p_holm": p}
        for one, name, p in zip(found, names[1:], corrected, strict=True)
    ]


def steps_at(groups: "Sequence[Group]", at: "At") -> list[int]:
    """The last evaluated step of each run by which it had spent no more than the run that spent least."""
    from menon.study.run_curves import spent

    runs = [group.runs[0] for group in groups]
    known = [spent(run, at) for run in runs]
    done = [
        [step for step in run.answers.steps if step > 0 and step in places]
        for run, places in zip(runs, known, strict=True)
    ]
    for run, steps in zip(runs, done, strict=True):
        if not steps:
            raise UserError(f"{run.path} was not evaluated after a step yet; wait for it")
    budget = min(places[steps[-1]] for places, steps in zip(known, done, strict=True))
    found = [
        [step for step in steps if places[step] <= budget] for places, steps in zip(known, done, strict=True)
    ]
    for run, steps in zip(runs, found, strict=True):
        if not steps:
            raise UserError(
                f"{run.path} was first evaluated after more than {budget:,.0f} {at}, which is all that "
                "another run spent; train with evaluate_every"
            )
    return [steps[-1] for steps in found]


def verdict(found: "Comparison", files: Sequence[str], abouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of a comparison of two evaluations."""
    lines = [f"menon compare  {found.n} questions"]
    for name, file, about, mean in zip("AB", files, abouts, (found.a, found.b), strict=True):
        lines.append(f"  {name}  {mean:.3f}   {about['settings']['model']}  ({file})")
    differ = [
        f"{name} {_of(abouts[0], name)} and {_of(abouts[1], name)}"
        for name in (
            "samples",
            "temperature",
            "forking_temperature",
            "entropy_threshold",
            "top_p",
            "max_new_tokens",
            "template",
            "reward",
            "environment",
            "max_turns",
            "graded_text",
        )
        if _of(abouts[0], name) != _of(abouts[1], name)
    ]
    if differ:
        lines.append(f"  not alike: {', '.join(differ)}")
    beyond = "beyond" if found.low > 0 or found.high < 0 else "within"
    if found.measure == "accuracy":
        test = f"McNemar     only A right {found.only_a}, only B right {found.only_b}"
    else:
        lines.append("  of the reward, which does not say which answers are right")
        test = f"sign test   A higher {found.only_a}, B higher {found.only_b}"
    return [
        *lines,
        "",
        f"  B - A       {found.difference:+.3f}   95 % interval {found.low:+.3f} to {found.high:+.3f} "
        "(paired bootstrap): "
        f"{beyond} what the choice of questions explains",
        f"  {test}, p = {found.p:.3g} (exact, by {found.judged})",
    ]


def _of(about: Mapping[str, Any], name: str) -> Any:
    return about["settings"].get(name, LATER.get(name))


# Sets of runs: over seeds


def set_lines(found: "SetComparison") -> list[str]:
    """The lines of a comparison of sets."""
    from menon.report.several import Table
    from menon.study.set_comparison import WHAT_TEST

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


def conclusions(found: "SetComparison") -> list[str]:
    """A sentence for each comparison: what is decided, by which test, or how many seeds would decide."""
    from menon.study.permutation import LEVEL
    from menon.study.power import LARGEST
    from menon.study.set_comparison import POWER

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


def soon(found: "SetComparison") -> "Any":
    """The table of what the sets spent until they reached the level."""
    from menon.report.several import Table
    from menon.study.set_comparison import usual

    axes = list(found.sets[0].reached)
    rows = []
    for one in found.sets:
        there = sum(value is not None for value in one.reached[found.at])
        middles = [usual(one.reached[axis]) for axis in axes]
        cells = ["never" if value is None else f"{value:,.0f}" for value in middles]
        rows.append((one.name, f"{there} of {len(one.runs)}", *cells))
    return Table((f"to reach {found.level:.3f} ({found.level_of})", "runs", *axes), rows)
