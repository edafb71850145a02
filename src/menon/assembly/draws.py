"""Draws from raw settings to their file: what `menon posterior` and `menon.posterior` call.

Threads are chosen and set before anything imports torch, so heavy modules are imported inside the function.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.run import use
from menon.errors import UserError
from menon.results import DrawLine

if TYPE_CHECKING:
    from menon.assembly.posterior import Drawing, PosteriorConfig


@dataclass(frozen=True)
class Stored:
    """Draws, and the file that holds them."""

    done: "Drawing"
    draws: Sequence[DrawLine]
    """The lines of the file."""
    out: Path
    seconds: float
    notes: Sequence[str]
    """Sentences that the user should read."""

    @property
    def numbers(self) -> dict[str, Any]:
        """Everything in one flat table: the last line of the command."""
        config = self.done.config
        head = {"model": config.model, "method": config.method.kind, "beta": config.beta, "seed": config.seed}
        counts = {"questions": len(self.done.drawn), "draws": len(self.draws)}
        end = {"seconds": self.seconds, "out": str(self.out)}
        return {**head, **counts, **self.done.numbers.flat(), **end}


def draw_to_file(settings: Mapping[str, Any]) -> Stored:
    """Draws, and writes the draws as JSON lines. UserError: settings that cannot be read, a file `out` that
    exists already or cannot be written, or no draw to any question."""
    chosen = threads.choose(settings)
    use(chosen, str(settings.get("device", "auto")))
    from menon.assembly.posterior import draw, read_posterior
    from menon.assembly.posterior_numbers import lines_of
    from menon.record import disk

    config = read_posterior({**settings, "threads": chosen.count})
    out = Path(config.out or default_out(config))
    if out.exists():
        raise UserError(f"{out} exists already; set out= to a new file")
    disk.check_place(out, "the file of draws", "file")
    notes: list[str] = []
    start = time.perf_counter()
    done = draw(config, notes.append)
    seconds = round(time.perf_counter() - start, 3)
    draws = list(lines_of(done.drawn))
    text = "".join(f"{json.dumps(line, ensure_ascii=False, allow_nan=False)}\n" for line in draws)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        disk.write(out, text.encode())
    except OSError as error:
        raise UserError(f"{out} cannot be written ({disk.cause(error)}); set out= to another file") from None
    return Stored(done, draws, out, seconds, notes)


def default_out(config: "PosteriorConfig") -> Path:
    """The default file of draws: posterior/MODEL-SOURCE-METHOD-TIME.jsonl."""
    name = "-".join(Path(word).name.split(".")[0] for word in (config.model, config.asked.source))
    return Path("posterior") / f"{name}-{config.method.kind}-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
