"""A policy that has stopped exploring, or come apart (docs/numerics.md, 18.3; limits of this project, not of
a paper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LOW = 0.05
"""Nats."""
LONG = 20
"""Consecutive steps below `LOW`."""
LITTLE = 0.1
MUCH = 3.0
"""Of the first step's entropy."""
WINDOW = 5
"""The reward falls where its mean over so many steps is below that over as many before."""


@dataclass(frozen=True)
class Alarm:
    kind: Literal["collapse", "explosion"]
    step: int
    """Place in the series, from 1, where it is first true."""
    why: str


def alarms(entropy: Sequence[float], reward: Sequence[float]) -> list[Alarm]:
    """The first of each kind, from one number a step each; nothing for an empty run."""
    found: dict[str, Alarm] = {}
    below = 0
    for i, h in enumerate(entropy):
        below = below + 1 if h < LOW else 0
        if below >= LONG:
            found.setdefault("collapse", Alarm("collapse", i + 1, f"entropy below {LOW} for {LONG} steps"))
        if h < LITTLE * entropy[0]:
            found.setdefault(
                "collapse", Alarm("collapse", i + 1, f"entropy below {LITTLE:.0%} of the first step")
            )
        if h > MUCH * entropy[0] and _falling(reward[: i + 1]):
            found.setdefault(
                "explosion",
                Alarm("explosion", i + 1, f"entropy above {MUCH:g} times the start, reward falling"),
            )
    return list(found.values())


def _falling(reward: Sequence[float]) -> bool:
    """Unknown, so False, before there are two windows."""
    return len(reward) >= 2 * WINDOW and np.mean(reward[-WINDOW:]) < np.mean(reward[-2 * WINDOW : -WINDOW])
