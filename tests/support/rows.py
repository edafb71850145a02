"""Batches from padded rows of answers, the layout in which papers and other libraries write their
examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.types import FINISHES, Metric
from menon.update.host import Ask, ModelHost
from menon.update.objective import Micro, loss_of, prepare
from menon.update.protocols import need_column
from menon.update.terms import AnyTerm, MiniBatch, Update

NAN = float("nan")


def batch_of(
    mask: Any, *, lengths: Sequence[int] | None = None, dtype: torch.dtype = torch.float64, **given: Any
) -> Batch:
    """One sequence per row of `mask` [S, T], behind one prompt token.

    `lengths` are the tokens of each row, by default up to its last 1. `outcome` [S] lies on the last action
    token; `reward` and other token columns are [S, T], and are NaN on tokens that are not trained: whatever
    leaks, shows.
    """
    rows = torch.as_tensor(mask).bool()
    size = (
        torch.tensor(lengths)
        if lengths is not None
        else torch.tensor([len(r) - int(r.flip(0).long().argmax()) for r in rows])
    )
    size = torch.where(rows.any(1), size, size if lengths is not None else 0)
    offset = torch.cat([size.new_zeros(1), (size + 1).cumsum(0)])
    place = torch.ones(int(offset[-1]), dtype=torch.bool)
    place[offset[:-1]] = False
    is_action = torch.zeros_like(place).masked_scatter(place, rows[_inside(rows, size)])
    num = len(rows)

    def per_token(values: Any, fill: float) -> Tensor:
        column = torch.full((len(place),), fill, dtype=dtype)
        column[place] = torch.as_tensor(values, dtype=dtype)[_inside(rows, size)]
        return torch.where(is_action, column, fill)

    def per_sequence(values: Any, kind: torch.dtype) -> Tensor:
        return torch.as_tensor(values).to(kind)

    reward = per_token(given.pop("reward"), 0) if "reward" in given else torch.zeros(len(place), dtype=dtype)
    if "outcome" in given:
        last = ragged.last(is_action, offset)
        last = torch.where(last >= 0, last, offset[1:] - 1)
        reward = reward.index_add(0, last, torch.as_tensor(given.pop("outcome"), dtype=dtype))
    pair = given.pop("pair", None)
    # Pairs of equal texts are left out, so texts of pairs differ.
    token = torch.zeros(len(place), dtype=torch.int64) if pair is None else torch.arange(len(place))
    return Batch(
        offset=offset,
        token=token,
        is_action=is_action,
        reward=reward,
        group=per_sequence(given.pop("group", [0] * num), torch.int64),
        finish=per_sequence([FINISHES.index(f) for f in given.pop("finish", ["stop"] * num)], torch.int64),
        valid=per_sequence(given.pop("valid", [True] * num), torch.bool),
        acc=per_sequence(given.pop("acc", [0.0] * num), dtype),
        pair=None if pair is None else per_sequence(pair, torch.int64),
        **{name: per_token(values, NAN) for name, values in given.items()},
    )


def _inside(rows: Tensor, size: Tensor) -> Tensor:
    return torch.arange(rows.shape[1]) < size[:, None]


def column_of(batch: Batch, values: Any, dtype: torch.dtype = torch.float64, fill: float = NAN) -> Tensor:
    """[S, T] -> a leaf [N] with gradient, `fill` on tokens that are not trained."""
    values = torch.as_tensor(values, dtype=dtype)
    size = batch.lengths - 1
    column = torch.full((batch.num_tokens,), fill, dtype=dtype)
    column[batch.position > 0] = values[_inside(values, size)]
    return torch.where(batch.trained, column, fill).requires_grad_()


def rows_of(batch: Batch, column: Tensor, width: int | None = None) -> Tensor:
    """[N] -> [S, T]: the inverse, prompts left out, 0 behind a row's end."""
    size = batch.lengths - 1
    offset = torch.cat([size.new_zeros(1), size.cumsum(0)])
    rows = ragged.pad(column.detach()[batch.position > 0], offset)
    return rows if width is None else torch.nn.functional.pad(rows, (0, width - rows.shape[1]))


@dataclass(frozen=True)
class Known:
    """A host whose policy's columns are known already."""

    columns: dict[str, Tensor]
    roles: frozenset[str] = frozenset({"policy"})

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        return {ask.name: self.columns[need_column(ask.need)].detach() for ask in asks}


def loss_and_metrics(
    term: AnyTerm, batch: Batch, now: dict[str, Tensor], first: bool = False
) -> tuple[Tensor, dict[str, Metric]]:
    """What one update with this one term gives, by the package's own path from terms to a loss."""
    part = MiniBatch(Update({"term": term}), torch.arange(batch.num_sequences), first)
    job = prepare(part, batch, cast(ModelHost, Known(now)))
    return loss_of(now, Micro(job.batch, job.terms))


def value_and_gradient(
    term: AnyTerm, batch: Batch, now: dict[str, Tensor], first: bool = False
) -> tuple[float, Tensor]:
    """The loss and its gradient [N] with respect to the one column in `now`."""
    loss, _ = loss_and_metrics(term, batch, now, first)
    (leaf,) = now.values()
    (gradient,) = torch.autograd.grad(loss, leaf)
    return float(loss.detach()), gradient
