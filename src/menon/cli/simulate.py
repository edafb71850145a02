"""`menon simulate`: a cluster on a simulated clock, as a table."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.run import use
from menon.cli.words import NO_OPTION, understand
from menon.errors import UserError
from menon.settings import Tree

if TYPE_CHECKING:
    from menon.simulate.plan import Planned, SimulateConfig

SEVERAL = ("devices", "staleness")
"""Settings that hold several numbers, like staleness=0,1,2."""
HEAD = (
    f"{'devices':>8}  {'samplers':<13}{'stale-':>7}{'a step':>9}{'answers':>9}{'tokens':>10}{'samplers':>10}"
    f"{'learners':>10}{'versions':>10}",
    f"{'':>8}  {'+ learners':<13}{'ness':>7}{'s':>9}{'a second':>9}{'a second':>10}{'idle':>10}{'idle':>10}"
    f"{'older':>10}",
)


def simulate(words: Sequence[str]) -> int:
    """Simulates synchronous and asynchronous training of several sizes with given speeds and answer lengths,
    and prints throughput, idle shares and staleness. The real loop and the real source run, with scripted
    samplers and learners on a simulated clock; nothing is trained, and the same settings give the same
    table."""
    asked = understand(words, no_option=NO_OPTION)
    if asked.plain:
        raise UserError(f"simulate takes settings alone, like devices=64; leave '{asked.plain[0]}' out")
    use(threads.choose({"threads": 1}), "cpu")
    from menon.settings import read
    from menon.simulate.plan import SimulateConfig, planned

    config = read(SimulateConfig, with_numbers(asked.settings))
    for line in table(config, planned(config)):
        print(line, flush=True)
    return 0


def with_numbers(settings: Tree) -> Tree:
    """The settings, where one or several numbers are a list."""
    return {name: numbers(name, value) if name in SEVERAL else value for name, value in settings.items()}


def numbers(name: str, value: Any) -> list[Any]:
    """
    >>> numbers("staleness", 1), numbers("staleness", "0,2"), numbers("devices", [8, 64])
    ([1], [0, 2], [8, 64])
    """
    if isinstance(value, list | tuple):
        return list(value)
    try:
        return [int(part) for part in str(value).split(",")]
    except ValueError:
        raise UserError(f"{name} is {value}; give whole numbers, like {name}=1,2") from None


def table(config: "SimulateConfig", rows: "Iterable[Planned]") -> Iterator[str]:
    """The lines of the table; each row as it is simulated."""
    answers = config.prompts_per_step * config.samples_per_prompt
    how = config.lengths
    if how in ("constant", "exponential", "lognormal"):
        how = f"{how}, mean {config.mean_length:,g} tokens, at most {config.longest:,}"
    yield f"menon simulate  {answers:,} answers a step ({how})"
    yield ""
    yield from HEAD
    for one in rows:
        found = one.found
        yield (
            f"{one.devices:>8,}  {one.layout:<13}{one.staleness:>7}{found.step:>9,.1f}{found.answers:>9,.2f}"
            f"{found.tokens:>10,.0f}{found.sampler_idle:>10.0%}{found.learner_idle:>10.0%}"
            f"{found.staleness:>10.2f}"
        )
