"""`menon diagnose RUN`: what is wrong with a run, in words."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import NO_OPTION, understand, wants_json
from menon.errors import UserError
from menon.printable import printable

if TYPE_CHECKING:
    from menon.study.diagnosis import Diagnosis

USAGE = "diagnose takes the folder of a run: menon diagnose runs/mine"


def diagnose(words: Sequence[str]) -> int:
    """Says what is wrong with a run that is finished, stopped or still going on, by the rules that also speak
    while it trains: each finding with its cause, the evidence, what to change, and a command that shows an
    example. A healthy run has no findings. Parts of the folder that cannot be read are named, and the rest
    is diagnosed all the same.

    --json prints the findings as a JSON list and nothing else; with json=true, or where stdout is no
    terminal, the last line is that list. Each has cause, evidence, setting, step and example.
    """
    rest, alone = json_alone(words)
    found = understand(rest, no_option=NO_OPTION)
    settings = found.settings
    as_json = wants_json(settings) or alone
    if len(found.plain) != 1 or settings:
        raise UserError(USAGE)
    from menon.study.diagnosis import diagnose as diagnosed

    result = diagnosed(found.plain[0])
    if alone:
        for note in result.notes:
            print(f"menon: {note}", file=sys.stderr)
    else:
        print("\n".join(lines(result)))
    if as_json:
        print_json(result.as_json())
    return 0


def lines(found: "Diagnosis") -> list[str]:
    """The lines about a run."""
    head = f"menon diagnose  {found.path}, {found.state}, {found.steps} steps"
    said = []
    for one in found.findings:
        where = "before step 1" if one.step == 0 else f"from step {one.step} on"
        said += ["", f"  {one.cause}, {where}", f"    {one.evidence}", f"    change: {one.setting}"]
        said += [f"    example: {one.example}"] * bool(one.example)
    if not found.findings:
        said = ["", "  nothing found"]
    notes = [f"  {note}" for note in found.notes]
    return [printable(line) for line in [head, *said, *([""] if notes else []), *notes]]
