"""The parts of the in-process host: models that score tokens, and models that learn."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.types import Metric
from menon.update.objective import Micro
from menon.update.protocols import Need

LogitRows = Callable[[Tensor], Tensor]
"""Indices [n] of action tokens -> the logits [n, V] that predict them."""


class Scorer(Protocol):
    """A model that scores tokens: a reference, a teacher."""

    def score(self, batch: Batch, needs: Iterable[Need], models: "Models | None" = None) -> dict[str, Tensor]:
        """[N] or [N, k] columns without gradient, on the batch's device, by the needs' names."""
        ...

    def logits(self, batch: Batch) -> LogitRows:
        """One forward pass without gradient; rows of logits are then made on request."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones."""
        ...


@runtime_checkable
class Learner(Scorer, Protocol):
    """A scorer that learns: a policy, a critic. One update = any number of `accumulate`, then one `step`."""

    tokens_per_forward: int
    """Padded tokens of the forward passes that run at a time; bounds memory and cannot change a result."""
    workers: int
    """Forward passes that run at a time. Cannot change a result."""
    by_prompt: bool
    """Whether a pass computes a prompt once for all its answers and pads nothing
    (`update.objective.forward_rows`). Cannot change a result."""

    def accumulate(self, micros: Iterable[Micro], models: "Models") -> dict[str, Metric]:
        """Adds the gradient of the micro-batches' share of the update's loss; gives the metrics of its
        terms."""
        ...

    def step(self) -> dict[str, Metric]:
        """One optimiser step. It clips the gradient, and skips and counts the update if the gradient is not
        finite. Metrics: grad_norm, learning_rate, update/empty, update/skipped."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything beside the weights that a resumed run needs: numbers, strings, tensors, nested dicts of
        them."""
        ...

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Takes a checkpoint's weights and state, bit for bit."""
        ...


def check_same_model(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """UserError unless a checkpoint's weights have the names and shapes of a model's."""
    odd = sorted(own.keys() ^ given.keys()) or sorted(n for n in own if own[n].shape != given[n].shape)
    if odd:
        raise UserError(
            f"the checkpoint holds another model: '{odd[0]}' does not fit; load it with the model "
            "it was made of"
        )


Models = Mapping[str, Scorer]
"""By role: "policy", "critic", "reference", "teacher". Two roles may name one object (a shared trunk)."""
