"""`menon report RUN`: the page of a run that is done, stopped or under way."""

from collections.abc import Sequence
from pathlib import Path

from menon import threads
from menon.assembly.run import use
from menon.errors import UserError


def report(words: Sequence[str]) -> int:
    if len(words) != 1 or words[0].startswith("-"):
        raise UserError("report takes the folder of a run: menon report runs/mine")
    run = Path(words[0])
    use(threads.choose({}), "auto")
    from menon.record.layout import Layout
    from menon.study.report import report as made

    made(run, lambda sentence: print(f"menon: {sentence}"))
    print(f"the report is in {Layout(run).page}", flush=True)
    return 0
