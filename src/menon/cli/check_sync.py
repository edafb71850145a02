"""`menon check sync`: does publishing do what it should on this placement."""

from collections.abc import Sequence
from dataclasses import replace

from menon.assembly.run import configured
from menon.cli.trial import to_try
from menon.errors import UserError


def check_sync(words: Sequence[str]) -> int:
    """Publishes unchanged weights, which must change no text, log-prob or fingerprint, then changed ones,
    which must answer everywhere, also where a prompt was asked before; compares trainer and sampler on the
    same tokens. Takes the words of `menon train`, trains nothing and writes no file; takes about a minute.

    The last line is `sync ok` or `sync failed: WHAT`; exit code 1 if it failed."""
    asked, chosen = to_try(words, "menon check sync checks the placement of a new run")
    from menon.assembly.build import build
    from menon.assembly.check_sync import BOUND, SyncFailed, check_of_run, to_check

    config = configured(asked.recipe, asked.changes, chosen.count, asked.again)
    if config.rows is not None:
        raise UserError("this run learns from given text, so it has no sampler to publish to")
    config = replace(config, models=to_check(config.models))

    def say(line: str) -> None:
        print(line, flush=True)

    with build(config, lambda sentence: say(f"menon: {sentence}")) as run:
        try:
            check_of_run(run, BOUND[config.engine.dtype], say)()
        except SyncFailed as failure:
            say(f"sync failed: {failure}")
            return 1
    say("sync ok")
    return 0
