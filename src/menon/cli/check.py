"""`menon check WHAT FILE`: rewards and data held against what they should say."""

from collections.abc import Sequence
from importlib import import_module

from menon.errors import UserError

CHECKS = {"code": "check_code:check_code"}
"""Word -> module of this package and its function, which takes the file and settings and gives the exit code."""


def check(words: Sequence[str]) -> int:
    what, file, *rest = [*words, "", ""][: max(2, len(words))]
    if what not in CHECKS or not file or "=" in file:
        raise UserError(f"menon check takes what to check ({', '.join(CHECKS)}) and a file, like menon check code cases.jsonl")
    pairs = [word.partition("=") for word in rest]
    if wrong := [name for name, _, value in pairs if name != "sandbox" or not value]:
        raise UserError(f"menon check takes no '{wrong[0]}'; it takes sandbox=LEVEL")
    module, _, function = CHECKS[what].partition(":")
    return int(getattr(import_module(f"menon.cli.{module}"), function)(file, **{name: value for name, _, value in pairs}))
