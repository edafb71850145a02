"""`menon study entropy RUN` and `menon study forecast RUN`: what a run's record says about its entropy and
its end, as tables. The numbers are stored in the run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from menon import threads
from menon.assembly.run import use
from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import NO_OPTION, understand, wants_json
from menon.errors import UserError
from menon.report.text_lines import printable

SHOWN = 12
"""Rows of the forking tables on the terminal; all of them are in the file."""
INDENT = "  "


USAGE = (
    "study takes entropy or forecast, and a run folder: menon study entropy runs/mine, or menon study "
    "forecast runs/mine"
)


def study(words: Sequence[str]) -> int:
    """Studies a run from its record, prints tables and stores the numbers in the run's folder.

    entropy: the law that links entropy to the score, forking tokens, overlap with the base. forecast: the
    score at the run's last planned step by two laws, each with its interval and with what it would have said
    earlier. --json prints the numbers as JSON and nothing else.
    """
    rest, alone = json_alone(words)
    asked = understand(rest, no_option=NO_OPTION)
    plain, settings = asked.plain, asked.settings
    if len(plain) != 2 or plain[0] not in ("entropy", "forecast"):
        raise UserError(USAGE)
    run = Path(plain[1])
    if plain[0] == "forecast":
        as_json = wants_json(settings) or alone
        if settings:
            raise UserError(
                f"study forecast takes no setting, and {next(iter(settings))} is one; leave it out"
            )
        return forecast(run, alone, as_json)
    use(threads.choose(settings), "cpu")
    from menon.record.layout import Layout
    from menon.settings import read
    from menon.study.entropy import RESULT, EntropyStudy
    from menon.study.entropy import study as made

    found = made(run, read(EntropyStudy, settings))
    if alone:
        print_json(found)
        return 0
    print(f"menon study entropy  {run}\n")
    for line in report(found):
        print(line)
    print(f"\n  all numbers   {Layout(run).study / RESULT}", flush=True)
    return 0


def forecast(run: Path, alone: bool, as_json: bool) -> int:
    """Prints the forecasts of a run."""
    use(threads.choose({}), "cpu")
    from menon.study.forecast import forecast as made

    found = made(run)
    if not alone:
        print("\n".join([f"menon study forecast  {run}", "", *forecast_lines(found)]))
    if as_json:
        print_json(found)
    return 0


def forecast_lines(found: dict[str, Any]) -> list[str]:
    """The lines about both laws, and about their past forecasts side by side."""
    sigmoid, entropy = found["sigmoid"], found["entropy"]
    lines = [f"score of {found['score']} after {found['steps']} steps", ""]
    lines.append("score = R0 + (A - R0) / (1 + (Cmid / steps)^B)")
    if "missing" in sigmoid:
        lines.append(INDENT + sigmoid["missing"])
    else:
        lines += [
            f"  after step {found['end']}: {with_ends(sigmoid)}",
            f"  A {with_ends(sigmoid['asymptote'])}   R0 {sigmoid['start']:.3f}   "
            f"B {sigmoid['steepness']:.2f}   Cmid {sigmoid['middle']:.3g}   RMSE {sigmoid['rmse']:.3f}",
        ]
    lines += ["", "score = b - a exp(entropy)"]
    if "missing" in entropy:
        lines.append(INDENT + entropy["missing"])
    else:
        lines += [
            f"  at entropy 0: {with_ends(entropy['ceiling'])}",
            f"  a {entropy['a']:.3f}   b {entropy['b']:.3f}   RMSE {entropy['rmse']:.3f}",
        ]
    lines += [
        "",
        f"{'what they said earlier':<28}{'sigmoid':>26}{'entropy, told at the end':>28}{'measured':>10}",
    ]
    for one in found["past"]:
        cells = [
            "-" if "missing" in one[law] else with_ends(one[law]) + ("" if one[law]["held"] else " *")
            for law in LAWS
        ]
        name = f"  first {one['part']}, {one['points']} points"
        lines.append(f"{name:<28}{cells[0]:>26}{cells[1]:>28}{one['measured']:>10.3f}")
    if any("missing" not in one[law] and not one[law]["held"] for one in found["past"] for law in LAWS):
        lines.append("  * measured outside of the 95 % interval")
    return lines


LAWS = ("sigmoid", "entropy")


def with_ends(part: dict[str, Any]) -> str:
    """A value with its 95 % interval."""
    return f"{part['value']:.3f} ({part['low']:.3f} to {part['high']:.3f})"


def report(found: dict[str, Any]) -> list[str]:
    """The lines of the whole study."""
    blocks = [
        law(found["law"]),
        covariance(found["covariance"]),
        tokens(found),
        overlap(found["fixed_answers"]),
    ]
    blocks += [bins(found["fixed_answers"]), forking(found["forking"]), alarms(found)]
    return [line for i, block in enumerate(blocks) for line in ([""] if i else []) + block]


def law(part: dict[str, Any]) -> list[str]:
    """The lines about the law of score and entropy, and its forecast."""
    title = "score = b - a exp(entropy)"
    if "missing" in part:
        return [title, INDENT + part["missing"]]
    early = part["forecast"]
    lines = [
        f"{title}, {part['points']} points, {part['score']}",
        f"  a {part['a']:.3f}   b {part['b']:.3f}   R^2 {part['r2']:.3f}",
        f"  ceiling {part['ceiling']:.3f} (95 % {part['low']:.3f} to {part['high']:.3f}), best so far "
        f"{part['best']:.3f}",
    ]
    for name, (spent, gained) in part["spent"].items():
        lines.append(
            f"  after {name} of the steps: {spent:.0%} of the change of entropy, {gained:.0%} of the "
            "change of score"
        )
    if "missing" in early:
        return [*lines, INDENT + early["missing"]]
    made = f"  forecast from the first {early['points']} points: ceiling {early['ceiling']:.3f}"
    if (scored := early["scored"]) is None:
        return [*lines, f"{made}; nothing to score it on yet"]
    return [
        *lines,
        made,
        f"    on the next {scored['points']}: RMSE {scored['rmse']:.3f}, error at the last "
        f"{scored['final_error']:+.3f}",
    ]


def covariance(part: dict[str, Any]) -> list[str]:
    """The lines about the covariance of log-prob and advantage."""
    title = "covariance of log-prob and advantage"
    if "missing" in part:
        return [title, INDENT + part["missing"]]
    names = list(part["first"])
    lines = [f"{title:<38}" + "".join(f"{name:>9}" for name in names)]
    for when in ("first", "last"):
        lines.append(f"  {when + ' step':<36}" + "".join(f"{part[when][name]:>9.3f}" for name in names))
    for name, label in (("mean", "over the step"), ("group", "inside groups")):
        direction = part[name]
        said = direction.get("missing") or f"{direction['correlation']:+.2f}"
        lines.append(f"  with the next change of entropy, {label}: {said}")
    return lines


def tokens(found: dict[str, Any]) -> list[str]:
    """The lines about the entropies of tokens."""
    names = ("p50", "p80", "p90", "p95", "p99")
    steps = found["tokens"]["steps"]
    lines = [
        f"{'entropy of tokens':<24}{'mean':>8}"
        + "".join(f"{name:>8}" for name in names)
        + f"{'< .01':>8}{'top 20 %':>10}"
    ]
    for label, part in (
        ("first step", found["first_step"]),
        (f"steps {steps[0]} to {steps[-1]}", found["tokens"]),
    ):
        row = [part["mean"], *(part["percentiles"][name] for name in names), part["lt001"]]
        lines.append(
            f"  {label:<22}" + "".join(f"{value:>8.3f}" for value in row) + f"{part['threshold']:>10.3f}"
        )
    return lines


def overlap(part: dict[str, Any]) -> list[str]:
    """The lines about the overlap of high-entropy positions with the base and with the last checkpoint."""
    title = "top 20 % positions"
    if "missing" in part:
        return [title, INDENT + part["missing"]]
    title = f"{title} of {part['tokens']} tokens"
    lines = [f"{title:<34}{'entropy':>9}{'with base':>11}{'with last':>11}   (chance .2)"]
    for row in part["overlap"]:
        name = "base" if row["step"] == 0 else f"step {row['step']}"
        lines.append(f"  {name:<32}{row['mean']:>9.3f}{row['with_base']:>11.3f}{row['with_last']:>11.3f}")
    return lines


def bins(part: dict[str, Any]) -> list[str]:
    """The lines about the change of entropy by the entropy under the base."""
    if "missing" in part:
        return []
    lines = [f"{'tokens by base entropy':<26}{'base':>8}{'change':>9}"]
    for i, row in enumerate(part["bins"]):
        share = 100 // len(part["bins"])
        lines.append(
            f"  {f'{share * i} to {share * (i + 1)} %':<24}{row['base']:>8.4f}{row['change']:>+9.4f}"
        )
    return lines


def forking(part: dict[str, Any]) -> list[str]:
    """The lines with the tokens of highest and lowest mean entropy."""
    title = "tokens by mean entropy"
    if "missing" in part:
        return [title, INDENT + part["missing"]]
    if not part["frequent"]:
        return [title, "  none occurs often enough; lower n_min, or raise transcripts"]
    lines = [f"{title}, highest {'':<14}lowest, of {part['frequent']} frequent ones"]
    for high, low in list(zip(part["top"], part["bottom"], strict=True))[:SHOWN]:
        lines.append(
            "  "
            + "".join(
                f"{token_text(row['text']):<14}{row['entropy']:>8.4f}{row['occurrences']:>8}    "
                for row in (high, low)
            )
        )
    return [line.rstrip() for line in lines]


def token_text(text: str) -> str:
    """A token in quotes and without control characters, so that it can be told from its neighbours."""
    return printable(repr(text))[:13]


def alarms(found: dict[str, Any]) -> list[str]:
    """The lines about alarms."""
    if not found["alarms"]:
        return ["alarms: none"]
    return [
        "alarms",
        *(f"  {alarm['kind']} at step {alarm['step']}: {alarm['why']}" for alarm in found["alarms"]),
    ]
