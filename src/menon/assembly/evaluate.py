"""An evaluation from raw settings to its file: what `menon eval` and `menon.evaluate` call.

Threads are chosen and set before anything imports torch, so heavy modules are imported inside the function.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.run import use
from menon.errors import UserError
from menon.threads import Threads

if TYPE_CHECKING:
    from menon.assembly.evaluation import Result
    from menon.eval.config import EvalConfig

OnReady = Callable[["EvalConfig", Threads], None]
"""Gets the settings with all defaults filled in, and the threads, before the first question."""


def evaluate(
    settings: Mapping[str, Any], on_ready: OnReady = lambda config, chosen: None
) -> tuple["Result", list[str]]:
    """Evaluates and stores the result; returns it with sentences that the user should read. UserError:
    settings that cannot be read, or a file `out` that exists already."""
    chosen = threads.choose(settings)
    use(chosen, str(settings.get("device", "auto")))
    from menon.assembly.as_run import as_run, notes_on_code
    from menon.assembly.evaluation import evaluate as run
    from menon.eval.config import EvalConfig, write_result
    from menon.record import disk
    from menon.settings import plain_data, read

    config = read(EvalConfig, {**as_run(dict(settings)), "threads": chosen.count})
    out = Path(config.out or default_out(config.model, config.source))
    if out.is_dir():
        raise UserError(f"out is the folder {out}; name a file in it, like out={out / 'result.json'}")
    if out.exists():
        raise UserError(f"{out} exists already; set out= to a new file")
    disk.check_place(out, "the result", "file")
    notes = notes_on_code(config.run)
    done = run(config, notes.append, lambda ready: on_ready(ready, chosen))
    stored = {**plain_data(done.config), "out": str(out)}
    write_result(out, stored, done.about, done.numbers, done.items)
    return done, [*notes, f"every sample's verdict is in {out}"]


def default_out(model: str, source: str) -> Path:
    """The default file of a result: evaluations/MODEL-SOURCE-TIME.json."""
    name = "-".join(Path(word).name.split(".")[0] for word in (model, source))
    return Path("evaluations") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"


def summary(done: "Result") -> dict[str, Any]:
    """The numbers in one flat table; intervals as [low, high]."""
    flat: dict[str, Any] = {"model": done.config.model, "source": done.config.source}
    for name, number in done.numbers.items():
        if isinstance(number, dict) and "low" in number:
            flat[name] = number["value"]
            flat[f"{name}_interval"] = [number["low"], number["high"]]
        else:
            flat[name] = number
    return flat | {"seconds": done.about["seconds"]}
