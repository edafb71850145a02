"""The seams between an objective and whatever holds the weights."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from menon.batch import Batch
from menon.types import Metric, Unit

if TYPE_CHECKING:
    from menon.update.objective import Micro


@dataclass(frozen=True)
class Reduction:
    """Something computed over the whole vocabulary, inside the learner's chunk loop, so that [N, V] never
    exists.

    `reduce(logits [n, V], other_logits [n, V] | None) -> [n]`; logits are divided by the temperature already.
    """

    name: str
    """The column it yields."""
    reduce: Callable[[Tensor, Tensor | None], Tensor]
    other: str = ""
    """Model whose logits come second (without gradient), for instance "reference"; "" for none."""


Need = Literal["logp", "entropy", "value", "value_after"] | Reduction
"""What a forward pass can be asked for; each yields one [N] column, 0 where the token is not an action.
`value` is that of the state before the token, `value_after` that of the state behind it."""


def name_of(need: Need) -> str:
    """The column that a need yields."""
    return need.name if isinstance(need, Reduction) else need


LogitRows = Callable[[Tensor], Tensor]
"""Places [n] of action tokens -> the logits [n, V] that predict them."""


class Scorer(Protocol):
    """Weights that can be asked about tokens: policy, reference, critic, teacher."""

    tokens_per_forward: int
    """Memory: padded tokens of the forward passes that run at a time. Cannot change a result."""

    def score(self, batch: Batch, needs: Iterable[Need], models: "Models | None" = None) -> dict[str, Tensor]:
        """[N] columns without gradient, on the batch's device, by name ("logp", "entropy", "value", a
        reduction's)."""
        ...

    def logits(self, batch: Batch) -> LogitRows:
        """One forward pass without gradient; rows of logits are then made on request."""
        ...


@runtime_checkable
class Learner(Scorer, Protocol):
    """A scorer that learns. One update = any number of `accumulate`, then one `step`."""

    workers: int
    """Forward passes that run at a time. Cannot change a result."""

    def accumulate(self, micros: "Iterable[Micro]", models: "Models") -> dict[str, Metric]:
        """Adds the gradient of the micro-batches' share of the update's loss; gives the metrics of its
        terms."""
        ...

    def step(self) -> dict[str, Metric]:
        """One optimiser step: clips; skips and counts a non-finite gradient. Metrics: grad_norm,
        learning_rate, skipped."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything beside the weights that a resumed run needs: numbers, strings, tensors, nested dicts of
        them."""
        ...

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Takes a checkpoint's weights and state, bit for bit."""
        ...


Models = Mapping[str, Scorer]
"""By role: "policy", "critic", "reference", "teacher". Two roles may name one object (a shared trunk)."""


class Loss(Protocol):
    """One number per token. A frozen dataclass: fields are parameters, `__call__` is the mathematics."""

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
        """Metrics under the names of spec 9.1; called without gradient. The means are over
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
    """How much a token's loss counts although another policy wrote it: an importance weight, or 0 for what is
    too far off."""

    @property
    def reads(self) -> tuple[str, ...]: ...

    def __call__(self, logp: Tensor, batch: Batch) -> Tensor:
        """[N] weights, finite and 0 or more; they multiply the loss after any clip and no denominator. `logp`
        [N] is that of the policy now, without gradient; sequences are whole."""
        ...


class Current(Protocol):
    """A no-grad scorer of the policy as it is now, given to `prepare`."""

    def __call__(self, *needs: Need) -> dict[str, Tensor]: ...


@runtime_checkable
class Prepares(Protocol):
    """A loss or selection with statistics over a whole update; runs once per update, before anything is
    cut."""

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        """[N] columns; the part finds them in `batch.columns`."""
        ...
