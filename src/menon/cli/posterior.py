"""`menon posterior MODEL`: draws from the optimum of a reward under a KL penalty to the model."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from menon import threads
from menon.assembly.run import use
from menon.cli.words import NO_OPTION, understand
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.assembly.posterior import Drawing, PosteriorConfig

NAMES = {
    "acceptance": "accepted proposals",
    "ess": "effective sample size",
    "autocorrelation": "autocorrelation",
    "log_z": "log Z",
    "kl_bound": "bound on the KL to the model, in nats",
    "distinct": "different answers among the draws",
    "tokens_per_draw": "tokens written for each draw",
}
"""Numbers of the method -> what the table calls them."""


def posterior(words: Sequence[str]) -> int:
    """Draws answers from pi*(y) = pi(y) exp(r(y) / beta) / Z, the best policy for a reward r and a KL penalty
    beta to the model pi, without training. Shows how they differ from the model's own answers, and writes
    them as JSON lines, which `menon train sft data=FILE` reads. The last line is JSON."""
    found = understand(words, no_option=NO_OPTION)
    models, settings = found.plain, found.settings
    if len(models) + ("model" in settings) != 1:
        raise UserError(
            "posterior takes one model: menon posterior base task=chain_sum method=suffix_mh beta=.1, or the "
            "folder of a model or of a run"
        )
    settings |= {"model": models[0]} if models else {}
    chosen = threads.choose(settings)
    use(chosen, str(settings.get("device", "auto")))
    from menon.assembly.posterior import draw, read_posterior
    from menon.assembly.posterior_numbers import lines_of
    from menon.record import disk

    config = read_posterior({**settings, "threads": chosen.count})
    out = Path(config.out or default_out(config))
    if out.exists():
        raise UserError(f"{out} exists already; set out= to a new file")
    notes: list[str] = []
    start = time.perf_counter()
    done = draw(config, notes.append)
    seconds = round(time.perf_counter() - start, 3)
    text = "".join(f"{line}\n" for line in lines_of(done.drawn))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        disk.write(out, text.encode())
    except OSError as error:
        raise UserError(f"{out} cannot be written ({disk.cause(error)}); set out= to another file") from None
    for line in [*table(done), *(f"  {note}" for note in notes), f"  {seconds:.1f} s; draws are in {out}"]:
        print(line)
    counts = {"questions": len(done.drawn), "draws": sum(len(one.draws) for one in done.drawn)}
    head = {"model": config.model, "method": config.method.kind, "beta": config.beta, "seed": config.seed}
    print(
        json.dumps({**head, **counts, **done.numbers.flat(), "seconds": seconds, "out": str(out)}), flush=True
    )
    return 0


def default_out(config: "PosteriorConfig") -> Path:
    """The default file of draws: posterior/MODEL-SOURCE-METHOD-TIME.jsonl."""
    name = "-".join(Path(word).name.split(".")[0] for word in (config.model, config.asked.source))
    return Path("posterior") / f"{name}-{config.method.kind}-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"


def table(done: "Drawing") -> list[str]:
    """The answers of the model beside the draws, then the numbers of the method."""
    config, numbers, method = done.config, done.numbers, done.numbers.method
    lines = [
        f"menon posterior  {config.model}",
        f"  questions  {len(done.drawn)} of {config.asked.source}, {config.draws} draws each",
        f"  method     {config.method.kind}, beta {config.beta:g}, temperature {config.temperature:g}, seed "
        f"{config.seed}",
        "",
        f"{'':<14}{'model':>9}{'draws':>9}",
    ]
    for name, value in numbers.draws.items():
        own = f"{numbers.prior[name]:.3f}" if name in numbers.prior else "-"
        lines.append(f"  {name:<12}{own:>9}{value:>9.3f}")
    lines.append("")
    lines += [f"  {text:<38}{method[name]:>9.3f}" for name, text in NAMES.items() if name in method]
    return [*lines, f"  {'tokens written':<38}{method['tokens']:>9.0f}"]
