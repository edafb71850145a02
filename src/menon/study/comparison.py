"""Several runs compared: a table of arms, a table of runs, both as Markdown and CSV, and a page."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from menon.record import disk
from menon.record.layout import SWEEP
from menon.record.reader import RunView
from menon.report.differences import differences, value_text
from menon.report.several import Arm, Several, Table, write
from menon.settings import setting
from menon.study.seeds import (
    Group,
    evaluation,
    half_width,
    held_out,
    mean_text,
    measure_of,
    measures_of,
    paired,
    seed_of,
    tokens_of,
)
from menon.threads import plural

Row = dict[str, Any]
"""One line of a CSV file; None: not known."""


def groups_in(folder: Path) -> list[Group]:
    """The runs of a sweep's folder by arm, in the order of the sweep; [] if none has begun, or if the folder
    holds no sweep."""
    plan = disk.read_json(folder / SWEEP)
    if not isinstance(plan, dict):
        return []
    found = []
    for name in plan["arms"]:
        runs = [RunView(folder / f"{name}-{seed}") for seed in plan["seeds"]]
        found.append(Group(name, tuple(run for run in runs if run.layout.about.exists())))
    return [group for group in found if group.runs]


def arm_rows(groups: Sequence[Group]) -> list[Row]:
    """A line of numbers per arm: means over finished runs, the ends of their 95 % intervals over seeds (two
    seeds or more), and the mean difference from the first arm, seed by seed."""
    measure, rows = measure_of(groups), []
    for group in groups:
        row: Row = {"arm": group.name, "runs": len(group.runs), "finished": len(group.finished)}
        for key in measures_of(groups):
            for when in ("before", "after"):
                row |= spread(f"{key}_{when}", group.values(when, key))
        pairs = paired(group, groups[0], measure) if group is not groups[0] else {}
        row |= spread("difference", list(pairs.values())) | {"difference_of": measure, "pairs": len(pairs)}
        for name, values in (
            ("tokens", [tokens_of(run) for run in group.finished]),
            ("seconds", [run.wall_s for run in group.finished]),
        ):
            row[name] = mean(values) if values else None
        rows.append(row)
    return rows


def spread(name: str, values: Iterable[float]) -> Row:
    """The mean of the known values and the ends of its interval."""
    known = [value for value in values if not math.isnan(value)]
    middle = mean(known) if known else None
    half = half_width(known) if len(known) > 1 else None
    ends = (None, None) if middle is None or half is None else (middle - half, middle + half)
    return {name: middle, f"{name}_low": ends[0], f"{name}_high": ends[1]}


def run_rows(groups: Sequence[Group]) -> list[Row]:
    """A line of numbers per run; `after` is the evaluation after step `after_step`, and `difference` that of
    a finished run from the first arm with the same seed."""
    measure, rows = measure_of(groups), []
    for group in groups:
        pairs = paired(group, groups[0], measure) if group is not groups[0] else {}
        for run in group.runs:
            numbers = {
                f"{key}_{when}": known(held_out(run, when, key))
                for key in measures_of(groups)
                for when in ("before", "after")
            }
            rows.append(
                {
                    "arm": group.name,
                    "run": str(run.path),
                    "seed": seed_of(run),
                    "state": run.state,
                    "step": run.steps,
                    "steps": setting(run.settings, "steps"),
                    **numbers,
                    "after_step": evaluation(run, "after").get("step"),
                    "difference": pairs.get(seed_of(run)) if run.report is not None else None,
                    "tokens": tokens_of(run),
                    "seconds": run.wall_s,
                    "warnings": " ".join(run.signs),
                }
            )
    return rows


def known(value: float) -> float | None:
    return None if math.isnan(value) else value


# Tables to read


def arms_table(groups: Sequence[Group]) -> Table:
    """The table of arms in words: means with half the width of their intervals."""
    measure, base = measure_of(groups), groups[0]
    columns: list[tuple[str, list[str]]] = [
        ("finished", [f"{len(group.finished)} of {len(group.runs)}" for group in groups])
    ]
    for key in measures_of(groups):
        for when in ("before", "after"):
            cells = [mean_text(group.values(when, key)) for group in groups]
            if set(cells) != {"-"}:
                columns.append((f"{key} {when}", cells))
    if len(groups) > 1:
        cells = [difference_text(group, base, measure) for group in groups]
        columns.append((f"{measure} against {base.name}", cells))
    tokens = [[tokens_of(run) for run in group.finished] for group in groups]
    seconds = [[run.wall_s for run in group.finished] for group in groups]
    columns.append(("tokens", [f"{mean(values):,.0f}" if values else "-" for values in tokens]))
    columns.append(("seconds", [f"{mean(values):,.1f}" if values else "-" for values in seconds]))
    rows = [(group.name, *(cells[place] for _, cells in columns)) for place, group in enumerate(groups)]
    return Table(("arm", *(name for name, _ in columns)), rows)


def difference_text(group: Group, base: Group, measure: str) -> str:
    """The mean paired difference with its interval and the number of seeds that both have."""
    if group is base:
        return ""
    pairs = list(paired(group, base, measure).values())
    return f"{mean_text(pairs, sign='+')} ({plural(len(pairs), 'seed')})" if pairs else "-"


def runs_table(groups: Sequence[Group]) -> Table:
    """The table of runs in words."""
    rows = run_rows(groups)
    keys = measures_of(groups)
    measured = [key for key in keys if any(row[f"{key}_after"] is not None for row in rows)]
    measured = measured or [
        key for key in measures_of(groups) if any(row[f"{key}_before"] is not None for row in rows)
    ]
    head = ["arm", "seed", "state", "steps"]
    head += [f"{key} {when}" for key in measured for when in ("before", "after")]
    head += [f"against {groups[0].name}"] if len(groups) > 1 else []
    cells = []
    for row in rows:
        line = [row["arm"], str(row["seed"]), row["state"], f"{row['step']}/{row['steps']}"]
        for key in measured:
            after = number_text(row[f"{key}_after"])
            halfway = row["state"] != "finished" and row["after_step"] is not None
            line += [
                number_text(row[f"{key}_before"]),
                f"{after} (step {row['after_step']})" if halfway else after,
            ]
        line += [number_text(row["difference"], "+.3f")] if len(groups) > 1 else []
        cells.append((*line, f"{row['tokens']:,.0f}", f"{row['seconds']:,.1f}", row["warnings"] or "-"))
    return Table((*head, "tokens", "seconds", "warnings"), cells)


def number_text(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else f"{value:{form}}"


def settings_table(groups: Sequence[Group]) -> Table:
    """The settings in which the arms differ: a row for each, a column for each arm."""
    found = differences([group.runs[0].settings for group in groups])
    rows = [(".".join(one.path), *map(value_text, one.values)) for one in found]
    return Table(("setting", *(group.name for group in groups)), rows)


def notes(groups: Sequence[Group]) -> list[str]:
    """What a reader of the tables must know: runs that are in no mean, and arms whose runs differ."""
    found = []
    for group in groups:
        for run in group.runs:
            if run.report is None:
                why = f" ({error})" if (error := run.ended.get("error")) else ""
                found.append(f"{run.name} has not finished{why}; it is in no mean")
        within = [".".join(one.path) for one in differences([run.settings for run in group.runs])]
        if within:
            found.append(
                f"the runs of {group.name} differ in more than their seed: {', '.join(within)}; run them "
                "again with the same settings"
            )
    return found


def markdown(groups: Sequence[Group]) -> str:
    """Both tables with their notes."""
    lines = ["## Arms", "", *arms_table(groups).markdown(), "", INTERVALS, ""]
    lines += ["## Runs", "", *runs_table(groups).markdown(), ""]
    lines += [f"- {note}" for note in notes(groups)]
    return "\n".join(lines).rstrip() + "\n"


INTERVALS = (
    "Means over the finished runs; ± is half the 95 % interval over seeds, by Student's t. A difference is "
    "taken seed by seed before its mean is."
)


# The page


def write_page(file: Path, title: str, groups: Sequence[Group]) -> None:
    """Writes the page of several runs."""
    arms = [Arm(group.name, [(run.metrics, run.evaluations) for run in group.runs]) for group in groups]
    tables = [("Arms", arms_table(groups), INTERVALS), ("Runs", runs_table(groups), "")]
    if len(groups) > 1:
        tables.insert(1, ("Settings that differ", settings_table(groups), ""))
    write(file, Several(title, tuple(arms), tuple(tables), tuple(notes(groups))))


def write_tables(folder: Path, groups: Sequence[Group]) -> None:
    """Writes sweep.md, arms.csv and runs.csv into a folder."""
    texts = {
        "sweep.md": markdown(groups),
        "arms.csv": disk.csv_text(arm_rows(groups)),
        "runs.csv": disk.csv_text(run_rows(groups)),
    }
    for name, text in texts.items():
        disk.write(folder / name, text.encode())
