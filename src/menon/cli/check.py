"""`menon check WHAT FILE`: compares what rewards and data say with what they should say."""

import inspect
from collections.abc import Sequence
from importlib import import_module

from menon.errors import UserError

CHECKS = {
    "verifier": "check_verifier:check_verifier",
    "data": "check_data:check_data",
    "code": "check_code:check_code",
}
"""What is checked -> module of this package and its function, which takes the file and settings and returns
the exit code."""


def check(words: Sequence[str]) -> int:
    what, file, *rest = [*words, "", ""][: max(2, len(words))]
    if what not in CHECKS or not file or "=" in file:
        raise UserError(
            f"menon check takes what to check ({', '.join(CHECKS)}) and a file, like menon check code "
            "cases.jsonl"
        )
    module, _, name = CHECKS[what].partition(":")
    function = getattr(import_module(f"menon.cli.{module}"), name)
    takes = list(inspect.signature(function).parameters)[1:]
    settings = {}
    for word in rest:
        key, equals, value = word.partition("=")
        if key not in takes or not equals or not value:
            raise UserError(f"menon check {what} takes no '{key}'; it takes {', '.join(takes)}, as key=value")
        settings[key] = value
    return int(function(file, **settings))
