"""How long the answers of a simulated run are."""

import math
from collections.abc import Sequence
from pathlib import Path

from menon.errors import UserError
from menon.record.reader import RunView
from menon.simulate.samplers import Length
from menon.streams import stream

KINDS = ("constant", "exponential", "lognormal")


def lengths_of(name: str, mean: float, spread: float, longest: int, seed: int) -> Length:
    """The lengths of a named distribution, or of a run: each prompt has those of one group of the run's last
    steps.

    exponential and lognormal have this mean before they are cut at `longest`; `spread` is the standard
    deviation of a lognormal's logarithm. UserError: there is neither such a name nor such a run.
    """
    if name not in KINDS:
        return lengths_of_run(name, seed)

    def length(prompt: int, visit: int, sample: int) -> int:
        rng = stream(seed, "length", prompt, visit, sample)
        drawn = mean
        if name == "exponential":
            drawn = float(rng.exponential(mean))
        elif name == "lognormal":
            drawn = float(rng.lognormal(math.log(mean) - spread**2 / 2, spread))
        return min(longest, max(1, round(drawn)))

    return length


def lengths_of_run(run: str, seed: int) -> Length:
    if not Path(run).is_dir():
        raise UserError(
            f"lengths={run} is neither a run folder nor one of {', '.join(KINDS)}; name one of them"
        )
    groups = groups_in(RunView.open(Path(run)))

    def length(prompt: int, visit: int, sample: int) -> int:
        group = groups[int(stream(seed, "group", prompt, visit).integers(len(groups)))]
        return group[sample % len(group)]

    return length


def groups_in(view: RunView, last: int = 5) -> Sequence[Sequence[int]]:
    """The lengths of each group of the last steps. UserError for a run without transcripts."""
    groups: dict[tuple[int, int], list[int]] = {}
    for step in view.transcripts.require()[-last:]:
        for row in view.transcripts.rows(step, ["group", "is_action"]):
            groups.setdefault((step, row["group"]), []).append(max(1, sum(row["is_action"])))
    return list(groups.values())
