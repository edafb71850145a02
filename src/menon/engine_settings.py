"""The settings of where and how a run computes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from menon.errors import UserError, at_least
from menon.settings import choice


@dataclass(frozen=True)
class ThisMachine:
    """All processes of the run are children of the one that trains."""

    kind: Literal["local"] = "local"


@dataclass(frozen=True)
class OnRay:
    """Ray chooses the hosts of samplers and ranks (docs/cluster.md)."""

    kind: Literal["ray"] = "ray"
    address: str = ""
    """The cluster to join, like 10.0.0.1:6379; empty: that of RAY_ADDRESS, or a new one on this machine."""
    interface: str = ""
    """The address of this machine to which processes on other hosts connect; empty: the one that Ray uses."""


PlacementPart = ThisMachine | OnRay
Placement = Annotated[PlacementPart, choice(PlacementPart)]


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
    ranks: int = 1
    """Processes that share each model: each holds a part of all weights, gradients and moments, and computes
    its part of each update. On GPUs each has its own. 1: the models are in the run's own process."""
    checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping what is inside it: less memory, about
    a third more time."""
    offload: bool = False
    """With ranks on GPUs: keep weights, gradients and moments in the memory of the host."""
    samplers: int | None = None
    """Processes that write text, each with its own copy of the weights, on the threads divided by their
    number; null: the run's own process writes, or one where Ray places them."""
    placement: Placement = field(default_factory=ThisMachine)
    """Where the processes of the run are: `local` or `ray`."""

    @property
    def num_samplers(self) -> int:
        """How many processes write text; 0: the run's own one does."""
        return (1 if isinstance(self.placement, OnRay) else 0) if self.samplers is None else self.samplers

    def __post_init__(self) -> None:
        at_least(1, "ranks", self.ranks)
        if self.offload and self.ranks == 1:
            raise UserError(
                "offload is about models in parts on GPUs; set ranks to at least 2, or leave it out"
            )
        if self.samplers is not None:
            at_least(1, "samplers", self.samplers)
        at_least(1, "tokens_per_forward", self.tokens_per_forward)
        at_least(1, "slots", self.slots)
        if self.threads is not None:
            at_least(1, "threads", self.threads)

    def check_whole(self, needs: Mapping[str, bool]) -> None:
        """UserError where models are in parts and one of the `needs`, by name, is a whole model in one
        process."""
        if self.ranks == 1:
            return
        if ":" in self.device:
            raise UserError(
                f"device={self.device} is one GPU, and each of ranks={self.ranks} takes its own; set "
                "device=cuda"
            )
        for name, asked in needs.items():
            if asked:
                raise UserError(
                    f"{name} needs a whole model in one process, and ranks={self.ranks} holds each in parts; "
                    "leave it out, or set ranks=1"
                )
