"""Detects a policy that has stopped exploring, or whose entropy explodes (docs/numerics.md, 18.3; the limits
are this project's, not a paper's)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LOW = 0.05
"""Entropy in nats, below which a policy has stopped exploring."""
LONG = 20
"""Consecutive steps below `LOW`."""
LITTLE = 0.1
MUCH = 3.0
"""Entropy relative to that of the first step, above which it explodes."""
WINDOW = 5
"""The reward falls if its mean over this many steps is below that over as many steps before."""


@dataclass(frozen=True)
class Alarm:
    """The entropy or the reward of a run shows a problem from this step on."""

    kind: Literal["collapse", "explosion"]
    step: int
    """The first step, from 1, at which it is true."""
    why: str


def alarms(entropy: Sequence[float], reward: Sequence[float]) -> list[Alarm]:
    """The first alarm of each kind, from the entropy and the reward of each step; [] for an empty run."""
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
    """Whether the reward falls; False before there are two windows."""
    return len(reward) >= 2 * WINDOW and np.mean(reward[-WINDOW:]) < np.mean(reward[-2 * WINDOW : -WINDOW])
