"""The settings of where and how a run computes."""

from dataclasses import dataclass
from typing import Literal

from menon.errors import at_least


@dataclass(frozen=True)
class Engine:
    """Where and how a run computes. These settings change memory and speed, and numbers only by rounding."""

    tokens_per_forward: int = 8192
    """Padded tokens of the forward passes that run at a time. It affects memory only."""
    slots: int = 256
    """Answers that are written at the same time. Affects memory and speed only."""
    fixed_slots: bool = False
    """Always compute all slots; slower, and the same bits in any company. The bits of an answer then do not
    depend on the answers written beside it."""
    threads: int | None = None
    """Threads; null: as many as are free."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Dtype of the weights that compute. With bfloat16 the optimiser keeps float32 weights."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        at_least(1, "tokens_per_forward", self.tokens_per_forward)
        at_least(1, "slots", self.slots)
        if self.threads is not None:
            at_least(1, "threads", self.threads)
