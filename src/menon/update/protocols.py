"""The protocols of an objective's parts, and what they can ask of a forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from menon.batch import Batch
from menon.types import Metric, Unit


@dataclass(frozen=True)
class Reduction:
    """Something computed over the whole vocabulary, inside the learner's chunk loop, so that [N, V] never
    exists.

    `reduce(logits [n, V], other_logits [n, V] | None) -> [n]`; logits are divided by the temperature already.
    """

    name: str
    """The column that it yields."""
    reduce: Callable[[Tensor, Tensor | None], Tensor]
    other: str = ""
    """Model whose logits come second (without gradient), for instance "reference"; "" for none."""


@dataclass(frozen=True)
class Head:
    """The output of a named head on a model's hidden states: "value", "reward", a projection."""

    name: str
    at: Literal["before", "after"] = "before"
    """The state before the token, or the one after it."""


@dataclass(frozen=True)
class Hidden:
    """[N, d] hidden states before the tokens, after one of the model's layers."""

    layer: int = -1
    """Index into the layers' outputs; -1 is the input of the heads."""


@dataclass(frozen=True)
class Inside:
    """Something computed from the layers of this model and of another, before each token.

    Layers have numbers from 1 on; the state of layer 0 is the embedding, and that of the last layer is taken
    after the last norm.
    """

    name: str
    """The column that it yields."""
    between: Callable[[Sequence[tuple[Tensor, Tensor]]], Tensor]
    """(own, the other's without gradient) of each pair of layers -> [n]. Of states: [n, d] of the other's
    width. Of attention: [n, heads, L], how much each head attends to each token of the sequence."""
    pairs: Callable[[int, int], Sequence[tuple[int, int]]]
    """(number of own layers, of the other's) -> the pairs (own layer, the other's)."""
    other: str
    """The other model, for instance "teacher"."""
    what: Literal["states", "attention"] = "states"


def projection_name(own: int, other: int) -> str:
    """The head that maps the states of a layer to the width of another model's layer.

    >>> projection_name(2, 4)
    'projection_2_4'
    """
    return f"{PROJECTION}{own}_{other}"


VALUE, VALUE_AFTER = Head("value"), Head("value", "after")
PROJECTION = "projection_"

Need = Literal["logp", "entropy"] | Head | Hidden | Reduction | Inside
"""What a forward pass can be asked for. Each yields one column, 0 where the token is not an action: [N], or
[N, k] for a head of k outputs and for hidden states."""


NEEDS: tuple[Need, ...] = ("logp",)
"""What a loss of the user's needs that does not say so."""


def need_column(need: Need) -> str:
    """The column that a need yields.

    >>> need_column("logp"), need_column(VALUE), need_column(VALUE_AFTER), need_column(Hidden())
    ('logp', 'value', 'value_after', 'hidden/-1')
    """
    match need:
        case str():
            return need
        case Head(name, at):
            return name if at == "before" else f"{name}_after"
        case Hidden(layer):
            return f"hidden/{layer}"
        case _:
            return need.name


class Loss(Protocol):
    """One number per token. A frozen dataclass: fields are parameters, `__call__` is the mathematics.

    A loss of the user's may leave out everything but its call (`assembly.own_parts`).
    """

    @property
    def unit(self) -> Unit:
        """What one number belongs to; a unit's number sits on its last action token (a pair's on the
        preferred one's)."""
        ...

    @property
    def needs(self) -> tuple[Need, ...]:
        """Columns of the differentiable forward pass."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that the batch must hold ("ref_logp", "advantage", ...); a run that cannot fill them does
        not start."""
        ...

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """[N] loss. `now` holds what `needs` named, with gradient."""
        ...

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        """Metrics by the names of docs/numerics.md, 15; called without gradient. Means are over
        `batch.trained`."""
        ...


class Select(Protocol):
    """Which tokens a term counts."""

    @property
    def reads(self) -> tuple[str, ...]: ...

    def __call__(self, batch: Batch) -> Tensor:
        """[N] bool, within `batch.trained`; statistics are over the whole update."""
        ...


class Aggregation(Protocol):
    """How much each token weighs in the sum that is an update's loss."""

    def __call__(self, batch: Batch, selected: Tensor) -> Tensor:
        """[N] weights from the whole update, 0 outside `selected`."""
        ...


class Correction(Protocol):
    """How much a token's loss counts if another policy wrote it: an importance weight, or 0 if the policies
    differ too much."""

    @property
    def reads(self) -> tuple[str, ...]: ...

    def __call__(self, logp: Tensor, batch: Batch) -> Tensor:
        """[N] weights, finite and 0 or more; they multiply the loss after any clip, and do not change the
        denominator. `logp` [N] is that of the current policy, without gradient; sequences are complete."""
        ...


class Current(Protocol):
    """A no-grad scorer of the policy as it is now, given to `prepare`: of the update's batch, or of another
    one (`on`); `role` names another model of the host, like "reference"."""

    def __call__(self, *needs: Need, role: str = "", on: Batch | None = None) -> dict[str, Tensor]: ...


@runtime_checkable
class Prepares(Protocol):
    """A loss or selection with statistics over a whole update; runs once per update, before anything is
    cut."""

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        """[N] columns; the part finds them in `batch.columns`."""
        ...
