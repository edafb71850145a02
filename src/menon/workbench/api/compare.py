"""Sets of runs compared as `menon compare` does, with their curves."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from string import ascii_lowercase
from typing import Any, get_args

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.routing import Route

from menon.cli.compare import NO_SEEDS, by_question, set_names
from menon.cli.set_table import conclusions
from menon.errors import UserError
from menon.report.charts import picture
from menon.study.listing import WRONG
from menon.study.run_curves import At
from menon.study.seeds import Group, groups_of, seed_of
from menon.study.set_chart import chart
from menon.study.set_comparison import POWER, WHAT_TEST, SetComparison, compare_sets, usual
from menon.workbench.answers import route
from menon.workbench.api.curves import download, views
from menon.workbench.runs import Runs

MOST_SETS = 8


def routes(runs: Runs) -> list[Route]:
    def compare(request: Request) -> object:
        sets = sets_of(runs, request.query_params)
        at = at_of(request.query_params)
        try:
            found = compare_sets(sets, at)
            drawn = chart(found, sets)
            if request.query_params.get("format") == "svg":
                return download(picture(drawn), "image/svg+xml", "compare.svg")
            return told(found, sets, at) | {"chart": asdict(drawn)}
        except UserError:
            raise
        except WRONG as error:
            raise UserError(f"these runs hold values of another kind than a run's ({error})") from None

    return [route("/api/compare", compare)]


def at_of(query: QueryParams) -> At:
    """Steps, tokens or seconds. UserError for another word."""
    for one in get_args(At):
        if query.get("at", "steps") == one:
            return one
    raise UserError(f"at is {query.get('at')}; it takes steps, tokens or seconds")


def sets_of(runs: Runs, query: QueryParams) -> list[Group]:
    """The sets of `a=`, `b=`, ... in the address; of `runs=` those that differ in nothing but their seeds
    are one set. UserError: fewer than two sets, or a run that is not there."""
    if query.get("runs"):
        return groups_of(list(views(runs, query["runs"]).values()))
    asked = [query[letter] for letter in ascii_lowercase[:MOST_SETS] if query.get(letter)]
    if len(asked) < 2:
        raise UserError("name two sets of runs, a= and b=, with commas between the runs of a set")
    of = [views(runs, names) for names in asked]
    names = set_names([list(one) for one in of])
    return [
        Group(name, tuple(sorted(one.values(), key=seed_of))) for name, one in zip(names, of, strict=True)
    ]


def told(found: SetComparison, sets: Sequence[Group], at: At) -> dict[str, Any]:
    """The comparison as the page shows it; of single runs with the test over questions."""
    line = found.as_json()
    for one in line["sets"]:
        one["middle"] = {axis: usual(values) for axis, values in one["reached"].items()}
        one["names"] = [Path(path).name for path in one["runs"]]
    said = {"conclusions": conclusions(found), "test": WHAT_TEST, "power": POWER}
    return line | said | {"by_question": questions(sets, at)}


def questions(sets: Sequence[Group], at: At) -> dict[str, Any] | None:
    """The last evaluations question by question, where every set is a single run and has its answers."""
    if any(len(one.runs) > 1 for one in sets):
        return None
    try:
        lines, _ = by_question([str(one.runs[0].path) for one in sets], list(sets), at)
    except (UserError, OSError, *WRONG) as error:
        return {"missing": str(error)}
    return {"lines": lines, "note": NO_SEEDS}
