"""Log-probs and entropies of logits, the entropy bonus, selections by entropy."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from golden.adapters.tools import share_of
from golden.adapters.trl import note_quantile
from golden.records import Record
from menon.batch import Batch
from menon.engines.forward import run_trunk
from menon.engines.network import Network
from menon.engines.readout import Readout
from menon.loss import EntropyBonus
from menon.select import TopEntropy
from menon.update.terms import Term
from rows import batch_of, loss_and_metrics, rows_of


class Given(nn.Module):
    """A causal LM whose logits are known: row t of `logits` predicts response token t."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, input_ids: Tensor, use_cache: bool) -> Any:
        return SimpleNamespace(logits=self.logits[:, : input_ids.shape[1]])


def columns_of_logits(
    batch: Batch, logits: Tensor, token: np.ndarray, needs: Sequence[Any]
) -> dict[str, Tensor]:
    """By the package's own forward pass."""
    size = batch.lengths - 1
    inside = torch.arange(token.shape[1]) < size[:, None]
    tokens = torch.zeros_like(batch.token).masked_scatter(batch.position > 0, torch.as_tensor(token)[inside])
    batch = replace(batch, token=tokens)
    behind = torch.zeros(
        logits.shape[0], 1, logits.shape[2], dtype=logits.dtype
    )  # what the last token would predict
    model = Given(torch.cat([logits, behind], 1))
    network = Network(trunk=model, whole=model)
    return Readout(network, 1.0, 1 << 30)(run_trunk(network, batch), batch, needs, {})


def logprobs_entropy(record: Record) -> None:
    logits = torch.tensor(record.inputs["logits"], requires_grad=True)
    batch = batch_of(np.ones(record.mask.shape), dtype=record.dtype)  # every position counts
    columns = columns_of_logits(
        batch, logits / record.settings.get("temperature", 1.0), record.inputs["labels"], ("logp", "entropy")
    )
    record.check("logprobs", rows_of(batch, columns["logp"], record.width))
    record.check("entropy", rows_of(batch, columns["entropy"], record.width))
    (gradient,) = torch.autograd.grad(columns["logp"].sum() + 0.5 * columns["entropy"].sum(), logits)
    record.check_gradient("logits", gradient)


def entropy_bonus(record: Record) -> None:
    share, scale = share_of(record, record.settings.get("loss_agg_mode", "token-mean"))
    batch = record.batch()
    logits = torch.tensor(record.inputs["logits"], requires_grad=True)
    token = np.zeros(record.mask.shape, dtype=np.int64)
    every = batch_of(np.ones(record.mask.shape), dtype=record.dtype)
    record.check(
        "entropy",
        rows_of(
            every, columns_of_logits(every, logits.detach(), token, ("entropy",))["entropy"], record.width
        ),
    )
    columns = columns_of_logits(batch, logits, token, ("entropy",))
    loss, _ = loss_and_metrics(Term(EntropyBonus(), share), batch, columns)
    (gradient,) = torch.autograd.grad(-scale * loss, logits)
    record.check("loss", -scale * float(loss.detach()))
    record.check_gradient("logits", gradient)


def top(record: Record) -> None:
    """TRL names the quantile below which tokens are dropped; the authors of 80/20 name the share that is
    kept."""
    settings = record.settings
    fraction = (
        settings["top_ratio"] if "top_ratio" in settings else round(1 - settings["threshold_quantile"], 12)
    )
    if fraction == 0:
        # The authors' code keeps one token then. A fraction of 0 is refused here, so ask for the least one.
        fraction = 1e-9
    if "threshold_quantile" in settings:
        note_quantile(record, fraction, settings["threshold_quantile"])
    batch = record.batch(entropy="entropies")
    column = TopEntropy(fraction, "old").prepare(batch, lambda *needs: {})["top_entropy"]
    record.check("mask", rows_of(batch, column.double(), record.width))


ADAPTERS = {
    "eighty_twenty.util.entropy_top_mask": top,
    "trl.util.high_entropy_mask": top,
    "verl.loss.entropy": entropy_bonus,
    "verl.util.logprobs_entropy": logprobs_entropy,
}
