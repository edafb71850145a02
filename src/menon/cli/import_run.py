"""`menon import FOLDER out=RUN`: what another library wrote, as a run folder."""

from collections.abc import Sequence
from pathlib import Path

from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import NO_OPTION, understand
from menon.errors import UserError
from menon.printable import console


def import_run(words: Sequence[str]) -> int:
    """Writes what another library dumped (verl, TRL, prime-rl, slime, Miles, verifiers, ATIF) or recorded
    (trackio, Weights & Biases offline, TensorBoard) as a run folder, and says what is missing in it.

    out=RUN         the new folder
    tokenizer=MODEL a model folder, for dumps that hold tokens and no texts
    run=NAME        the run of a trackio project that has several
    """
    words, as_json = json_alone(words)
    found = understand(words, no_option=NO_OPTION)
    settings = dict(found.settings)
    out, tokenizer, run = (settings.pop(name, None) for name in ("out", "tokenizer", "run"))
    if len(found.plain) != 1 or out is None or settings:
        raise UserError(
            "import takes a folder and out=RUN, and perhaps tokenizer=MODEL: menon import dump out=runs/a"
        )
    from menon.workbench.peers.importing import spans_of, write_run

    spans = None if tokenizer is None else spans_of(str(tokenizer))
    done = write_run(Path(found.plain[0]), Path(str(out)), spans, None if run is None else str(run))
    if as_json:
        print_json(done)
        return 0
    text = console(soft_wrap=True)
    text.print(
        f"{done.run}: {done.steps} steps, {done.answers} answers from {' and '.join(done.kinds)}",
        markup=False,
    )
    for sentence in done.missing:
        text.print(f"  missing: {sentence}", markup=False)
    for sentence in done.faults[:10]:
        text.print(f"  left out: {sentence}", markup=False)
    if len(done.faults) > 10:
        text.print(f"  left out: {len(done.faults) - 10} more, listed in run.json", markup=False)
    text.print(f"look at it with `menon workbench {done.run}`", markup=False)
    return 0
