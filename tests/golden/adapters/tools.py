"""What adapters share: running a loss or a chain of advantage parts, and translating a peer's way of
averaging."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from golden.records import Record
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
NO_BOUND = 1e30
Scaled = tuple[float, AnyTerm]
"""A term, and the factor from our share to the peer's normaliser."""


def batch_with(record: Record, **given: Any) -> Batch:
    """The record's batch with every column that it knows. An advantage per row goes to each of the row's
    tokens."""
    columns: dict[str, Any] = {
        column: record.inputs[name] for column, name in COLUMNS.items() if name in record.inputs
    } | given
    advantage = columns.get("advantage")
    if advantage is not None and np.ndim(advantage) == 1:
        columns["advantage"] = np.repeat(np.asarray(advantage)[:, None], record.width, axis=1)
    return record.batch(**columns)


def compare_loss(
    record: Record,
    *terms: Scaled,
    first: bool = False,
    batch: Batch | None = None,
    leaves: Sequence[str] = ("logp",),
) -> None:
    """Losses of the terms and their gradients add."""
    inputs = {"logp": "logprobs", "entropy": "entropies", "value": "values"}
    batch = batch_with(record) if batch is None else batch
    now = {leaf: column_of(batch, record.inputs[inputs[leaf]], record.dtype) for leaf in leaves}
    loss = sum(scale * loss_and_metrics(term, batch, now, first)[0] for scale, term in terms)
    record.check("loss", float(loss.detach()))
    for leaf in leaves:
        if inputs[leaf] in record.gradient:
            (gradient,) = torch.autograd.grad(loss, now[leaf], retain_graph=True)
            record.check_gradient(inputs[leaf], rows_of(batch, gradient, record.width))


def corrected(record: Record) -> tuple[Batch, tuple[Importance, ...]]:
    """Recorded weights are those of a sampler that differs from the old policy by just them."""
    weights = record.inputs.get("rollout_is_weights", record.inputs.get("importance_sampling_ratio"))
    if weights is None:
        return batch_with(record), ()
    old = record.inputs.get("old_logprobs", np.zeros(record.mask.shape))
    weights = np.broadcast_to(weights, record.mask.shape)
    behaviour = old - np.log(np.where(record.mask, weights, 1))
    return batch_with(record, old_logp=old, behaviour_logp=behaviour), (Importance(high=NO_BOUND),)


def run(batch: Batch, *parts: Any) -> Batch:
    """The advantage stage, each part with the memory that it starts from."""
    for part in parts:
        batch = part(batch, part.init())[0] if hasattr(part, "init") else part(batch)
    return batch


def check_advantages(record: Record, batch: Batch, name: str = "advantages") -> None:
    """Per token, or of each row's first token where the record has one number per row."""
    assert batch.advantage is not None
    found = rows_of(batch, batch.advantage)
    found = torch.nn.functional.pad(found, (0, max(0, record.width - found.shape[1])))
    record.check(name, found if record.outputs[name].ndim == 2 else found[:, 0])


def check_returns(record: Record, batch: Batch) -> None:
    assert batch.ret is not None
    record.check("returns", rows_of(batch, batch.ret, record.width))


def limit_of(record: Record) -> float:
    """Where log-ratios are clamped; 80 for the peers that do not."""
    peer = record.function.partition(".")[0]
    if record.function in ("verl.loss.clip_cov", "verl.loss.kl_cov"):
        return LARGEST
    return {"verl": 20.0, "openrlhf": 20.0, "skyrl": 20.0, "eighty_twenty": 20.0, "spo": 10.0}.get(
        peer, LARGEST
    )


def share_of(record: Record, mode: str) -> tuple[AggregationPart, float]:
    """verl's name of an aggregation -> the share, and the factor to its normaliser."""
    count = int(record.filled.sum())
    size = record.settings.get("dp_size", 1)
    if mode == "token-mean":
        tokens = int(record.mask.sum())
        return TokenMean(), size * tokens / record.settings.get("batch_num_tokens", tokens)
    if mode == "seq-mean-token-sum-norm":  # verl does not divide by the number of rows
        return Constant(int(record.settings.get("loss_scale_factor") or record.width)), float(count)
    share: AggregationPart = SequenceMean() if mode == "seq-mean-token-sum" else SequenceMeanTokenMean()
    return share, size * count / record.settings.get("global_batch_size", count)


def clip_of(record: Record) -> tuple[float, float]:
    """The clip range, under whatever names."""
    settings = record.settings
    for low, high in CLIPS:
        if low in settings and high in settings:
            return settings[low], settings[low] if settings[high] is None else settings[high]
    raise KeyError(f"{record.id} names no clip range")


CLIPS = (
    ("clip_low", "clip_high"),
    ("eps_clip_low", "eps_clip_high"),
    ("clip_eps_low", "clip_eps_high"),
    ("epsilon_low", "epsilon_high"),
    ("ratio_clip_min", "ratio_clip_max"),
    ("eps_clip", "eps_clip_higher"),
    ("eps_clip", "eps_clip_high"),
    ("eps_clip", "eps_clip"),
    ("clip", "clip"),
)
