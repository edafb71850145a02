"""`menon check sync`: does publishing do what it should on this placement."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from menon import threads
from menon.assembly.run import check_free, configured, use
from menon.cli.command import asked_by
from menon.errors import UserError
from menon.settings import setting


def check_sync(words: Sequence[str]) -> int:
    """Publishes unchanged weights, which must change no text, log-prob or fingerprint, then changed ones,
    which must answer everywhere, also where a prompt was asked before; compares trainer and sampler on the
    same tokens. Takes the words of `menon train`, trains nothing and writes no file; takes about a minute.

    The last line is `sync ok` or `sync failed: WHAT`; exit code 1 if it failed."""
    asked = asked_by(words)
    if asked.resume is not None:
        raise UserError("menon check sync checks the placement of a new run; leave --resume out")
    if out := setting(asked.settings, "out"):
        check_free(Path(str(out)))
    chosen = threads.choose(asked.settings)
    use(chosen, str(setting(asked.settings, "device", "auto")))
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
