"""`menon simulate`: what clusters of several sizes would do, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass

from menon.errors import UserError, at_least
from menon.simulate.lengths import lengths_of
from menon.simulate.run import Cluster, Found, Work, simulate
from menon.simulate.samplers import Speed


@dataclass(frozen=True)
class SimulateConfig:
    """The cluster, its speeds, and what it writes."""

    devices: tuple[int, ...] = (8, 64, 512)
    """How many devices there are, one or several numbers. Each number is simulated in turns, where all of
    them write and then all of them learn, and divided into samplers and learners that work at one time."""
    samplers: int | None = None
    """Samplers, in place of `devices`; it needs `learners`."""
    learners: int | None = None
    """Learners, in place of `devices`; it needs `samplers`."""
    staleness: tuple[int, ...] = (0, 1, 2)
    """Bounds of `source.staleness`, one or several numbers."""
    lengths: str = "lognormal"
    """constant, exponential, lognormal, or the folder of a run whose answers are as long."""
    mean_length: float = 1000.0
    """Mean length of an answer, in tokens; not used with a run."""
    spread: float = 1.0
    """Standard deviation of the logarithm of a length, for lognormal."""
    longest: int = 16_384
    """Most tokens of an answer; not used with a run."""
    prompts_per_step: int = 128
    """Questions that are asked in a step."""
    samples_per_prompt: int = 8
    """Answers to each of them."""
    prompt_tokens: int = 200
    """Tokens of a question."""
    steps: int = 8
    """Steps that are simulated."""
    slots: int = 256
    """Answers that a sampler writes at a time."""
    tokens_per_second: float = 8000.0
    """Tokens that a sampler writes in a second when all its slots are full."""
    single_tokens_per_second: float = 60.0
    """Tokens that a sampler writes in a second when it writes one answer alone."""
    read_tokens_per_second: float = 50_000.0
    """Tokens of prompts, and of unfinished answers after a publication, that a sampler reads in a second."""
    learn_tokens_per_second: float = 8000.0
    """Tokens that a learner learns from in a second, prompts included."""
    update_seconds: float = 0.5
    """Seconds of a step's updates besides those of its tokens."""
    publish_seconds: float = 1.0
    """Seconds in which nothing is written between two steps: publication, record."""
    switch_seconds: float = 10.0
    """Seconds in which devices that take turns change from writing to learning and back."""
    seed: int = 0
    """Seed of the lengths."""

    def __post_init__(self) -> None:
        for name in ("prompts_per_step", "samples_per_prompt", "prompt_tokens", "slots", "longest"):
            at_least(1, name, getattr(self, name))
        at_least(max(self.staleness, default=0) + 3, "steps", self.steps)
        for name in ("mean_length", "tokens_per_second", "single_tokens_per_second"):
            check_positive(name, getattr(self, name))
        for name in ("read_tokens_per_second", "learn_tokens_per_second"):
            check_positive(name, getattr(self, name))
        for name in ("update_seconds", "publish_seconds", "switch_seconds", "spread"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} is {getattr(self, name):g}; it must be at least 0")
        if (self.samplers is None) != (self.learners is None):
            raise UserError("samplers and learners belong together; give both, or devices alone")
        for name in ("samplers", "learners"):
            if (value := getattr(self, name)) is not None:
                at_least(1, name, value)
        for count in self.devices:
            at_least(2, "devices", count)
        for bound in self.staleness:
            at_least(0, "staleness", bound)
        if not self.staleness or not self.devices:
            raise UserError("staleness and devices need at least one number each")
        if self.tokens_per_second < self.single_tokens_per_second:
            raise UserError(
                f"tokens_per_second={self.tokens_per_second:g} of full slots is less than "
                f"single_tokens_per_second={self.single_tokens_per_second:g}; raise it, or lower the other"
            )
        if self.tokens_per_second > self.slots * self.single_tokens_per_second:
            raise UserError(
                f"{self.slots} slots of {self.single_tokens_per_second:g} tokens a second each cannot write "
                f"tokens_per_second={self.tokens_per_second:g}; raise single_tokens_per_second or slots"
            )


def check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise UserError(f"{name} is {value:g}; it must be positive")


@dataclass(frozen=True)
class Planned:
    """One row."""

    devices: int
    layout: str
    """"in turns", or how many samplers and learners."""
    staleness: int
    found: Found


def planned(config: SimulateConfig) -> Iterator[Planned]:
    """A row for each size and bound, as they are simulated. Devices that work at the same time are divided as
    the work is: learners get the share of the devices' time that learning takes where all take turns."""
    if config.samplers is not None and config.learners is not None:
        for bound in config.staleness:
            yield row(config, config.samplers, config.learners, bound)
        return
    for devices in config.devices:
        together = simulate(
            cluster_of(config, devices, devices, config.publish_seconds + config.switch_seconds),
            work_of(config),
            0,
        )
        if 0 in config.staleness:
            yield Planned(devices, "in turns", 0, together)
        wrote = (1 - together.sampler_idle) * together.step
        learned = (1 - together.learner_idle) * together.step
        learners = min(devices - 1, max(1, round(devices * learned / (learned + wrote))))
        for bound in config.staleness:
            if bound:
                yield row(config, devices - learners, learners, bound)


def row(config: SimulateConfig, samplers: int, learners: int, staleness: int) -> Planned:
    found = simulate(
        cluster_of(config, samplers, learners, config.publish_seconds), work_of(config), staleness
    )
    return Planned(samplers + learners, f"{samplers} + {learners}", staleness, found)


def work_of(config: SimulateConfig) -> Work:
    length = lengths_of(config.lengths, config.mean_length, config.spread, config.longest, config.seed)
    return Work(
        config.prompts_per_step, config.samples_per_prompt, config.prompt_tokens, length, config.steps
    )


def cluster_of(config: SimulateConfig, samplers: int, learners: int, between: float) -> Cluster:
    """`between`: seconds in which nothing is written between two steps."""
    return Cluster(
        samplers=samplers,
        speed=speed_of(
            config.tokens_per_second,
            config.single_tokens_per_second,
            config.read_tokens_per_second,
            config.slots,
        ),
        update_seconds=config.update_seconds,
        learn_seconds=1 / (config.learn_tokens_per_second * learners),
        publish_seconds=between,
    )


def speed_of(full: float, single: float, read: float, slots: int) -> Speed:
    """A decoding step takes a constant time and some more for each sequence; the two numbers of tokens a
    second settle both.

    >>> speed_of(2000, 50, 1e9, 100)
    Speed(step=0.0196969..., each=0.00030303..., read=1e-09, slots=100)
    """
    each = (slots / full - 1 / single) / (slots - 1) if slots > 1 else 0.0
    return Speed(1 / single - each, each, 1 / read, slots)
