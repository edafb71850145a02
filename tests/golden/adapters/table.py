"""Function of a peer -> the adapter that runs our code on its records. An adapter maps names, rescales and
composes; it holds no formula of its own. Functions whose code does not exist here yet are listed with what
they wait for."""

from collections.abc import Callable

from golden.adapters import (
    areal,
    distillation,
    entropy,
    groups,
    kl,
    losses,
    nemo,
    pairs,
    rewards,
    rollout,
    segments,
    skyrl,
    token_advantages,
    trl,
    values,
    whitening,
)
from golden.records import Record

Adapter = Callable[[Record], None]

MODULES = (
    areal,
    distillation,
    entropy,
    groups,
    kl,
    losses,
    nemo,
    pairs,
    rewards,
    rollout,
    segments,
    skyrl,
    token_advantages,
    trl,
    values,
    whitening,
)
ADAPTERS: dict[str, Adapter] = {
    name: adapter for module in MODULES for name, adapter in module.ADAPTERS.items()
}

WAITING: dict[str, str] = {}
"""Functions without an adapter."""


def waits_for(record: Record) -> str:
    """What has to be built before this record can be run; "" if nothing."""
    return WAITING.get(record.function, "")
