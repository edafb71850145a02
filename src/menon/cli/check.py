"""`menon check WHAT`: compares what rewards, data and samplers do with what they should, before a run."""

import inspect
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module

from menon.cli.plain_json import json_alone, print_json
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
    set's gold answers against the reward, a sampler against the trainer's weights, a run's gradient against
    the same by another cut and on ranks. Exit code 1 if one is not right.

    --json prints one JSON object in place of the lines: `check`, `good`, and the `lines` as they would have
    been printed.
    """
    rest, alone = json_alone(words)
    if not alone:
        return checked(rest)
    with redirect_stdout(io.StringIO()) as said:
        code = checked(rest)
    lines = [line for line in said.getvalue().splitlines() if line]
    print_json({"check": rest[0], "good": code == 0, "lines": lines})
    return code


def checked(words: Sequence[str]) -> int:
    """Does what the words name, and prints lines about it; returns the exit code."""
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
            "code cases.jsonl, menon check judge cases.jsonl model=FOLDER, or data, gradient or sync with "
            "the words of menon train"
        )
    module, _, name = CHECKS[what].partition(":")
    function = getattr(import_module(f"menon.cli.{module}"), name)
    takes = list(inspect.signature(function).parameters)[1:]
    for key, value in given.settings.items():
        if key not in takes or not isinstance(value, Mapping if key == "columns" else str):
            raise UserError(f"menon check {what} takes no '{key}'; it takes {', '.join(takes)}, as key=value")
    return int(function(file, **given.settings))
