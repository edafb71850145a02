"""How the commands begin that try a run and keep nothing of it."""

from collections.abc import Sequence
from pathlib import Path

from menon import threads
from menon.assembly.run import check_free, use
from menon.cli.command import Asked, asked_by
from menon.errors import UserError
from menon.settings import setting
from menon.threads import Threads


def to_try(words: Sequence[str], why: str) -> tuple[Asked, Threads]:
    """The run that the words of `menon train` name, and its threads, which are set. UserError: the words
    resume a run, with `why` that cannot be, or `out` holds one."""
    asked = asked_by(words)
    if asked.resume is not None:
        raise UserError(f"{why}; leave --resume out")
    if out := setting(asked.settings, "out"):
        check_free(Path(str(out)))
    chosen = threads.choose(asked.settings)
    use(chosen, str(setting(asked.settings, "device", "auto")))
    return asked, chosen
