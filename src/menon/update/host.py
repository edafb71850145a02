"""The protocol between a training step and the models: what can be asked of them, and what they learn from.

Everything that passes is plain data, so a host may be in this process, in the ranks of a cluster, or a remote
service.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from menon.batch import Batch
from menon.types import Metric, Unit
from menon.update.protocols import Need, need_column
from menon.update.terms import AnyTerm


@dataclass(frozen=True)
class Ask:
    """One column that a model is asked for."""

    role: str
    """Which of the host's models: "policy", "critic", "reference", "teacher", ..."""
    need: Need
    """A reduction may name another role of the same host, whose logits come second."""
    column: str = ""
    """The name of the resulting column; "": that of the need."""

    @property
    def name(self) -> str:
        return self.column or need_column(self.need)


@dataclass(frozen=True)
class Ready:
    """A term whose whole-update quantities are computed."""

    term: AnyTerm
    weight: Tensor
    """[N] coefficient times aggregation weight."""
    columns: Mapping[str, Tensor]


@dataclass(frozen=True)
class Job:
    """One optimiser step, fully specified: everything that depends on the whole update is in its columns and
    weights."""

    batch: Batch
    terms: Mapping[str, Ready]
    unit: Unit
    """The unit that is never cut apart."""
    first: bool = False
    """The model is still the one that began the step, so that its log-probs can be compared with the
    sampler's."""


class ModelHost(Protocol):
    """Named models in one place. The host owns their weights, their optimisers and their files.

    Two roles may be one model: a critic on the policy's trunk learns in the policy's updates.
    """

    @property
    def roles(self) -> frozenset[str]: ...

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        """[N] or [N, k] columns by the asks' names, without gradient, on the batch's device; 0 where a token
        is not an action. UserError names a role that the host lacks."""
        ...

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        """One optimiser step: cuts the job for memory, adds up its gradient, clips, moves the weights. How it
        cuts cannot change the result. Metrics of the job's terms; grad_norm, learning_rate, update/empty and
        update/skipped of the optimiser, after `role/` for other roles than the policy."""
        ...

    def save(self, folder: Path) -> None:
        """Writes everything that a resumed run needs of the models: the policy as an ordinary Hugging Face
        folder, the rest in `folder/state`. No tensor passes the caller."""
        ...

    def load(self, folder: Path) -> None:
        """Takes back what `save` wrote, bit for bit. UserError if it was written by other models."""
        ...

    def export(self, role: str, folder: Path) -> None:
        """A model as an ordinary Hugging Face folder."""
        ...

    def fingerprint(self, role: str) -> str:
        """The fingerprint of all weights of a model (`sync.fingerprint`)."""
        ...

    def follow(self, role: str, leader: str, rate: float) -> None:
        """role <- rate * leader + (1 - rate) * role, for the weights that `role` has; 1 copies them."""
        ...


class GivesGradient(ModelHost, Protocol):
    """A host that can show a gradient instead of following it."""

    def gradient(self, role: str, job: Job) -> Iterator[tuple[str, Tensor]]:
        """(name, whole tensor) of the gradient of an update that is not made, one at a time."""
        ...
