"""`menon report RUN`: the page of a run that is done, stopped or under way."""

from collections.abc import Sequence
from pathlib import Path

from menon import threads
from menon.assembly.run import use
from menon.cli.words import understand
from menon.errors import UserError


def report(words: Sequence[str]) -> int:
    """Writes a run's page (report.html) anew from its record: curves, answers before and after, distance,
    time. The run may still be going on."""
    usage = "report takes the folder of a run: menon report runs/mine"
    found = understand(words, no_option=usage)
    if len(found.plain) != 1 or found.overrides:
        raise UserError(usage)
    run = Path(found.plain[0])
    use(threads.choose({}), "auto")
    from menon.record.layout import Layout
    from menon.study.report import report as made

    made(run, lambda sentence: print(f"menon: {sentence}"))
    print(f"the report is in {Layout(run).page}", flush=True)
    return 0
