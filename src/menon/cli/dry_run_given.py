"""The dry run of a run on given text: the first row as the model reads it, and what of it is learned."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from menon import threads
from menon.report.terminal import GIVEN, title
from menon.report.text_lines import printable

if TYPE_CHECKING:
    from menon.batch import Batch
    from menon.config import RunConfig
    from menon.record.spans import TextSpans


def dry_run_given(config: "RunConfig", chosen: threads.Threads, words: Sequence[str]) -> int:
    """Shows the first row and what the losses say of the held-out rows. Returns 0: what speaks against the
    rows is a refusal, or a count of those that are left out."""
    from menon.assembly.given import build_given

    notes: list[str] = []
    with build_given(config, notes.append) as run:
        machine = f"{run.header['machine']}, {threads.plural(chosen.count, 'thread')} ({chosen.reason})"
        show(header({**run.header, "machine": machine}))
        show(f"menon: {note}" for note in notes)
        assert run.spans is not None
        show(row_lines(run.source.next().batch, run.spans))
        measured = run.measure()
        known = "  ".join(f"{name} {measured[name]:.3f}" for name in GIVEN if name in measured)
        show(["", f"{measured['rows']:.0f} held-out rows: {known or 'nothing is measured'}", ""])
    print(f"nothing speaks against it: {shlex.join(['menon', 'train', *words])}", flush=True)
    return 0


def show(lines: "Sequence[str] | Iterator[str]") -> None:
    for line in lines:
        print(line, flush=True)


def header(lines: Mapping[str, str]) -> Iterator[str]:
    """The lines above a run's progress."""
    yield f"{title(lines)}, a dry run"
    yield from (f"  {label:<9}{text}" for label, text in lines.items() if label != "recipe")


def row_lines(batch: "Batch", spans: "TextSpans") -> Iterator[str]:
    """The first text of a batch, or both of a pair: what is read, and what is learned."""
    paired = batch.pair is not None
    for row, name in enumerate(("preferred", "other") if paired else ("",)):
        start, end = batch.offset[row : row + 2].tolist()
        tokens, learned = batch.token[start:end].numpy(), batch.is_action[start:end].tolist()
        yield ""
        what = f"the first pair, {name}" if paired else "the first row"
        yield f"{what}   {threads.plural(len(tokens), 'token')}, {sum(learned)} of them learned"
        place = 0
        for is_learned, run in groupby(learned):
            count = len(list(run))
            text, _ = spans(tokens[place : place + count])
            place += count
            for line in text.removesuffix("\n").split("\n"):
                yield f"  {'learned' if is_learned else 'read':<8}| {printable(line)}"
