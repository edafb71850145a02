"""`menon posterior MODEL`: draws from the optimum of a reward under a KL penalty to the model."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from menon.assembly.draws import draw_to_file
from menon.cli.words import NO_OPTION, understand
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.assembly.posterior import Drawing

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
    stored = draw_to_file(settings)
    for line in [*table(stored.done), *(f"  {note}" for note in stored.notes)]:
        print(line)
    print(f"  {stored.seconds:.1f} s; draws are in {stored.out}")
    print(json.dumps(stored.numbers), flush=True)
    return 0


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
