"""`menon report`: the page of a run that is done, stopped or under way, or of several beside each other."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.run import use
from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import understand
from menon.errors import UserError
from menon.record.layout import PIPELINE, SWEEP, Layout
from menon.settings import Tree

if TYPE_CHECKING:
    from menon.study.seeds import Group

USAGE = "report takes the folder of a run, several of them, or that of a sweep: menon report runs/a runs/b"


def report(words: Sequence[str]) -> int:
    """Writes a run's page (report.html) anew from its record: curves, answers before and after, distance,
    time. The run may still be going on.

    Of several runs, or of the folder of a `menon sweep`, it writes one page: their numbers, the settings in
    which they differ, and their curves over each other. Runs that differ only in their seed are drawn as one
    line, the mean, with a band from the lowest run to the highest. The page is report.html in the folder of
    the sweep, else several.html beside the first run, or out=FILE.html.

    Of the folder of a pipeline it writes a table of its stages, with links to their pages.

    --json prints, in place of the tables, one JSON object: the page and the numbers of each run.
    """
    rest, alone = json_alone(words)
    found = understand(rest, no_option=USAGE)
    settings = found.settings
    if not found.plain or settings.keys() - {"out"}:
        raise UserError(USAGE)
    folders = [Path(word) for word in found.plain]
    if len(folders) > 1 or (folders[0] / SWEEP).exists():
        return several(folders, settings.get("out"), alone)
    if (folders[0] / PIPELINE).exists():
        return of_stages(folders[0], settings, alone)
    if "out" in settings:
        raise UserError("the page of one run is report.html in its folder; leave out= out")
    use(threads.choose({}), "auto")
    from menon.study.report import report as made

    told = sys.stderr if alone else sys.stdout
    made(folders[0], lambda sentence: print(f"menon: {sentence}", file=told))
    page = Layout(folders[0]).page
    if alone:
        print_json({"page": str(page), "runs": [numbers_of(folders[0])]})
        return 0
    print(f"the report is in {page}", flush=True)
    return 0


def numbers_of(folder: Path) -> dict[str, Any]:
    """A run's line in a list, and its report if it has finished."""
    from menon.record.reader import RunView
    from menon.study.listing import line_of

    view = RunView.open(folder)
    return {**line_of(view), "report": view.report}


def of_stages(folder: Path, settings: Tree, alone: bool) -> int:
    """Writes the page of a pipeline and prints its table."""
    from menon.pipeline.folder import PipelineView, table_of
    from menon.pipeline.page import write_page

    if "out" in settings:
        raise UserError("the page of a pipeline is report.html in its folder; leave out= out")
    view = PipelineView.open(folder)
    write_page(view)
    if alone:
        print_json({"page": str(Layout(folder).page), "stages": view.report})
        return 0
    print("\n".join(table_of(view.report).aligned()))
    print(f"\nthe report is in {Layout(folder).page}", flush=True)
    return 0


def several(folders: Sequence[Path], out: str | None, alone: bool) -> int:
    """Writes the page of several runs and prints their table."""
    from menon.study.comparison import arms_table, write_page

    groups = groups_of_folders(folders)
    sweep = len(folders) == 1
    file = Path(out) if out else Layout(folders[0]).page if sweep else folders[0].parent / "several.html"
    if file.is_dir() or not file.parent.is_dir():
        raise UserError(f"the page cannot be written to {file}; name a file in a folder that exists")
    title = folders[0].resolve().name if sweep else ", ".join(group.name for group in groups)
    write_page(file, title, groups)
    if alone:
        found = [numbers_of(run.path) for group in groups for run in group.runs]
        print_json({"page": str(file), "runs": found})
        return 0
    print("\n".join(arms_table(groups).aligned()))
    print(f"\nthe report is in {file}", flush=True)
    return 0


def groups_of_folders(folders: Sequence[Path]) -> list["Group"]:
    """The runs of all folders in groups; those of one sweep are its arms. UserError: a folder without a run,
    or a run that has not finished a step."""
    from menon.record.reader import RunView
    from menon.study.comparison import groups_in
    from menon.study.seeds import groups_of

    if len(folders) == 1:
        groups = groups_in(folders[0])
        if not groups:
            raise UserError(
                f"no run of the sweep {folders[0]} has begun; `menon sweep --resume {folders[0]}`"
            )
        return groups
    runs = []
    for folder in folders:
        inside = [run for group in groups_in(folder) for run in group.runs]
        runs += inside or [RunView.open(folder)]
    places = [run.path.resolve() for run in runs]
    twice = next((run.path for run, place in zip(runs, places, strict=True) if places.count(place) > 1), None)
    if twice:
        raise UserError(f"{twice} is named twice; leave one of them out")
    for run in runs:
        run.finished_steps()
    return groups_of(runs)
