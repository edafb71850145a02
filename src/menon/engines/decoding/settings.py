"""What is the same for all requests of a stream."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Settings:
    """The settings of all requests of a stream."""

    seed: int
    end_tokens: np.ndarray
    fixed: bool
    """All slots are computed in every step."""
    prefix_bytes: int | None
    """Most bytes of the prefix cache; None: there is none."""
    kept_bytes: int
    """Most bytes of the slots' keys and values that are kept for the next stream."""
    alternatives: int = 0
    """How many of the most probable tokens are recorded beside each token that is drawn."""
    kept: int = 0
    """How many tokens at most top-k and top-p keep of requests whose kept tokens are recorded; 0: of none."""
