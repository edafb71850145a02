"""`menon check WHAT FILE`: compares what rewards and data say with what they should say, before a run."""

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module

from menon.cli.words import understand
from menon.errors import UserError

CHECKS = {
    "verifier": "check_verifier:check_verifier",
    "code": "check_code:check_code",
    "judge": "check_judge:check_judge",
}
"""What is checked -> module of this package and its function, which takes the file and settings and returns
the exit code."""


def check(words: Sequence[str]) -> int:
    """Holds rewards and data against what they should say: a verifier or a judge against labelled answers,
    the code reward against labelled programs, a run against the first answers that it would draw, a data
    set's gold answers against the reward, a run's gradient against the same by another cut and on ranks. Exit
    code 1 if one is not right."""
    if words and words[0] == "data":
        from menon.cli.check_data import check_data

        return check_data(words[1:])
    if words and words[0] == "gradient":
        from menon.cli.check_gradient import check_gradient

        return check_gradient(words[1:])
    if words and words[0] == "sync":
        from menon.cli.check_sync import check_sync

        return check_sync(words[1:])
    given = understand(words, no_option="menon check takes no option '{option}'; settings are key=value")
    what, file, *more = [*given.plain, "", ""][: max(2, len(given.plain))]
    if what not in CHECKS or not file or more:
        raise UserError(
            "menon check takes what to check and a file, like menon check verifier cases.jsonl, menon check "
            "code cases.jsonl, menon check judge cases.jsonl model=FOLDER, or menon check data and menon "
            "check gradient with the words of menon train"
        )
    module, _, name = CHECKS[what].partition(":")
    function = getattr(import_module(f"menon.cli.{module}"), name)
    takes = list(inspect.signature(function).parameters)[1:]
    for key, value in given.settings.items():
        if key not in takes or not isinstance(value, Mapping if key == "columns" else str):
            raise UserError(f"menon check {what} takes no '{key}'; it takes {', '.join(takes)}, as key=value")
    return int(function(file, **given.settings))
