"""What adapters share: running a loss or a chain of advantage parts, and translating a peer's way of
averaging."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden.records import Record
from menon.advantage import Whiten
from menon.batch import Batch
from menon.correction.importance import Importance
from menon.loss.aggregation import AggregationPart, Constant, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.loss.ratio import LARGEST
from menon.update.terms import AnyTerm
from rows import column_of, loss_and_metrics, rows_of

COLUMNS = {
    "advantage": "advantages",
    "old_logp": "old_logprobs",
    "ref_logp": "ref_logprobs",
    "behaviour_logp": "rollout_logprobs",
    "entropy": "entropies",
}
"""Our column -> the peers' input."""
NO_BOUND = 1e38
LEAST_WEIGHT = 3e-9
"""A recorded weight of 0 is one below this: log-weights are held above exp(-20) = 2e-9 here."""
Scaled = tuple[float, AnyTerm]
"""A term, and the factor from our share to the peer's normaliser."""


def batch_with(record: Record, **given: Any) -> Batch:
    """The record's batch with every column that it knows. An advantage per row goes to each of the row's
    tokens."""
    columns: dict[str, Any] = {
        column: record.inputs[name]
        for column, name in COLUMNS.items()
        if name in record.inputs and column not in given
    } | given
    advantage = columns.get("advantage")
    if advantage is not None and np.ndim(advantage) == 1:
        columns["advantage"] = by_token(record, advantage)
    return record.batch(**columns)


def by_token(record: Record, values: np.ndarray) -> np.ndarray:
    """[S] or [S, 1] -> [S, T]."""
    rows = np.asarray(values).reshape(len(record.mask), -1)
    return np.array(np.broadcast_to(rows, record.mask.shape))


def compare_loss(
    record: Record,
    *terms: Scaled,
    first: bool = False,
    batch: Batch | None = None,
    leaves: Sequence[str] = ("logp",),
) -> None:
    """Losses of the terms and their gradients add."""
    batch = batch_with(record) if batch is None else batch
    compare_parts(record, *((batch, term) for term in terms), first=first, leaves=leaves)


def compare_parts(
    record: Record,
    *parts: tuple[Batch, Scaled],
    first: bool = False,
    leaves: Sequence[str] = ("logp",),
) -> None:
    """The same where terms have batches that train different tokens."""
    names = {"logp": "logprobs", "entropy": "entropies", "value": "values"}
    given = {leaf: torch.tensor(record.inputs[names[leaf]], dtype=record.dtype) for leaf in leaves}
    for each in given.values():
        each.requires_grad_()
    loss = sum(
        scale * loss_and_metrics(term, batch, columns_of(batch, given), first)[0]
        for batch, (scale, term) in parts
    )
    assert isinstance(loss, Tensor)
    record.check("loss", float(loss.detach()))
    for leaf, values in given.items():
        if names[leaf] in record.gradient:
            (gradient,) = torch.autograd.grad(loss, values, retain_graph=True)
            record.check_gradient(names[leaf], gradient)


def columns_of(batch: Batch, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """[S, T] -> columns [N] that are NaN on tokens that are not trained, through which gradients flow."""
    size = batch.lengths - 1
    found = {}
    for name, rows in given.items():
        inside = torch.arange(rows.shape[1]) < size[:, None]
        column = torch.full((batch.num_tokens,), torch.nan, dtype=rows.dtype)
        column = column.masked_scatter(batch.position > 0, rows[inside])
        found[name] = torch.where(batch.trained, column, torch.nan)
    return found


def weights_of(record: Record) -> np.ndarray | None:
    """[S, T] the weights that a record gives, of tokens or of rows."""
    name = next(
        (n for n in ("rollout_is_weights", "importance_sampling_ratio") if n in record.inputs),
        None,
    )
    return None if name is None else by_token(record, record.inputs[name])


def corrected(record: Record) -> tuple[Batch, tuple[Importance, ...]]:
    """Recorded weights are those of a sampler that differs from the old policy by just them."""
    weights = weights_of(record)
    if weights is None:
        return batch_with(record), ()
    old = record.inputs["old_logprobs"] if "old_logprobs" in record.inputs else np.zeros(record.mask.shape)
    with np.errstate(divide="ignore"):
        behaviour = old - np.log(np.where(record.mask, weights, 1))
    part = Importance(outside="drop", low=LEAST_WEIGHT, high=NO_BOUND)
    return batch_with(record, old_logp=old, behaviour_logp=behaviour), (part,)


def factor(batch: Batch, logp: Tensor, *parts: Any) -> Tensor:
    """[N] the product of corrections, each prepared as an update would."""
    total = torch.ones_like(logp)
    for part in parts:
        columns = part.prepare(batch, lambda *needs: {"logp": logp}) if hasattr(part, "prepare") else {}
        total = total * part(logp, replace(batch, columns=columns))
    return torch.where(batch.trained, total, 0)


def weighed(batch: Batch, weight: Tensor | np.ndarray | float) -> Batch:
    """The batch with its advantages times a weight [N] of 0 or more: for losses that are linear in them."""
    assert batch.advantage is not None
    return replace(batch, advantage=batch.advantage * torch.as_tensor(weight))


def run(batch: Batch, *parts: Any) -> Batch:
    """The advantage stage, each part with the memory that it starts from."""
    for part in parts:
        batch = part(batch, part.init())[0] if hasattr(part, "init") else part(batch)
    return batch


def mode_of(ddof: int) -> Any:
    return {0: "population", 1: "bessel"}[ddof]


def floored(record: Record, batch: Batch, floor: float, std_mode: Any = "population") -> Whiten:
    """For peers that take the larger of variance and floor, where ours adds eps: above the floor nothing has
    to be added."""
    assert batch.advantage is not None
    counted = batch.advantage[batch.trained]
    variance = float(counted.var(correction=int(std_mode == "bessel"))) if len(counted) > 1 else 0.0
    if variance <= floor:
        record.facts.add("variance below the floor")
    elif abs(float(counted.mean())) > 10 * variance**0.5:
        record.facts.add("numbers that hardly vary")
    return Whiten(std_mode, eps=0.0 if variance > floor else floor)


def check_advantages(record: Record, batch: Batch, name: str = "advantages") -> None:
    """Per token, or of each row's first trained token where the record has one number per row. A row without
    a token has nothing that could hold its number."""
    assert batch.advantage is not None
    found = rows_of(batch, batch.advantage)
    found = torch.nn.functional.pad(found, (0, max(0, record.width - found.shape[1]))).numpy()
    expected = record.outputs[name]
    if expected.ndim == 1:
        first = np.take_along_axis(found, record.mask.argmax(1)[:, None], axis=1)[:, 0]
        found = np.where(record.filled, first, expected)
    record.check(name, found)


def check_returns(record: Record, batch: Batch) -> None:
    assert batch.ret is not None
    record.check("returns", rows_of(batch, batch.ret, record.width))


def current(record: Record, batch: Batch) -> Tensor:
    """[N] the policy's log-probs without gradient."""
    return column_of(batch, record.inputs["logprobs"], record.dtype).detach()


UNCLAMPED_VERL = ("verl.loss.clip_cov", "verl.loss.kl_cov", "verl.loss.geo_mean")


def limit_of(record: Record) -> float:
    """Where log-ratios are clamped; 80 for the peers that do not."""
    peer = record.function.partition(".")[0]
    if record.function in UNCLAMPED_VERL or record.function.endswith("_cov"):
        return LARGEST
    return {"verl": 20.0, "openrlhf": 20.0, "skyrl": 20.0, "eighty_twenty": 20.0, "spo": 10.0}.get(
        peer, LARGEST
    )


def share_of(record: Record, mode: str) -> tuple[AggregationPart, float]:
    """verl's name of an aggregation -> the share, and the factor to its normaliser. OpenRLHF counts ranks
    only where it is given the totals of the global batch."""
    settings, count = record.settings, int(record.filled.sum())

    def scale(counted: int, name: str) -> float:
        total = settings.get(name)
        if total is None and record.function.startswith("openrlhf"):
            return 1.0
        return settings.get("dp_size", 1) * (1.0 if total is None else counted / total)

    if mode == "token-mean":
        return TokenMean(), scale(int(record.mask.sum()), "batch_num_tokens")
    if mode == "seq-mean-token-sum-norm":  # verl does not divide by the number of rows
        return Constant(int(settings.get("loss_scale_factor") or record.width)), float(count)
    share: AggregationPart = SequenceMean() if mode == "seq-mean-token-sum" else SequenceMeanTokenMean()
    if mode == "seq-mean-token-sum" and record.function.startswith(("entropy_mechanism", "eighty_twenty")):
        return share, record.share_of_filled_rows  # early verl counts empty rows
    return share, scale(count, "global_batch_size")


def clip_of(record: Record, default: float = 0.2) -> tuple[float, float]:
    """The clip range, under whatever names; an upper bound that is missing or null is the lower one."""
    settings = record.settings
    for enough in (all, any):
        for low, high in CLIPS:
            if enough(name in settings for name in (low, high)):
                lower, upper = settings.get(low, default), settings.get(high)
                return lower, lower if upper is None else upper
    return default, default


CLIPS = (
    ("clip_low", "clip_high"),
    ("eps_clip_low", "eps_clip_high"),
    ("clip_eps_low", "clip_eps_high"),
    ("epsilon_low", "epsilon_high"),
    ("ratio_clip_min", "ratio_clip_max"),
    ("eps_clip", "eps_clip_higher"),
    ("eps_clip", "eps_clip_high"),
    ("clip", "clip"),
)
