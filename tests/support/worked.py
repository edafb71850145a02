"""Example of docs/numerics.md, 19.3: rho = exp(.3), exp(-.1), exp(.8) | exp(-.1), exp(.6) = 1.349859,
.904837, 2.225541 | .904837, 1.822119."""

from typing import Any

from menon.batch import Batch
from menon.update.terms import Term
from rows import batch_of, column_of, rows_of, value_and_gradient

MASK = [[1, 1, 1], [1, 1, 0]]
OLD = [[-1, -0.5, -2], [-0.2, -1.5, 0]]
NEW = [[-0.7, -0.6, -1.2], [-0.3, -0.9, 0]]
ADVANTAGE = [[1, 1, 1], [-0.5, -0.5, 0]]


def worked(**more: Any) -> Batch:
    return batch_of(MASK, **({"old_logp": OLD, "advantage": ADVANTAGE} | more))


def tokens(loss: Any, batch: Batch) -> list[float]:
    """Its five numbers."""
    rows = rows_of(batch, loss({"logp": column_of(batch, NEW)}, batch)).tolist()
    return rows[0] + rows[1][:2]


def update(term: Term, batch: Batch, first: bool = False) -> tuple[float, list[float]]:
    """The loss of an update and its gradient at the five tokens."""
    value, gradient = value_and_gradient(term, batch, {"logp": column_of(batch, NEW)}, first)
    rows = rows_of(batch, gradient).tolist()
    return value, rows[0] + rows[1][:2]
