"""What moves the entropy: tokens whose log-prob and advantage are both far from their means (arXiv
2505.22617, section 3)."""

import hashlib
from typing import Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.loss.ratio import advantage_of
from menon.streams import stream
from menon.update.protocols import Current

Statistics = Literal["current", "old"]


def logp_for(statistics: Statistics, batch: Batch, current: Current) -> Tensor:
    """[N] log-probs of the policy as it is before this update, or before the step; on the first update they
    are the same."""
    if statistics == "old" and batch.old_logp is not None:
        return batch.old_logp
    return current("logp")["logp"]


def covariance(logp: Tensor, batch: Batch, asker: object) -> Tensor:
    """[N] (A_t - mean A) (log pi_t - mean log pi), means over all trained tokens of finite log-prob; -inf
    elsewhere.

    Their mean is the covariance whose negative drives the entropy: a likely token with a positive advantage
    lowers it.
    """
    advantage = advantage_of(batch, asker)
    counted = batch.trained & logp.isfinite()
    return torch.where(counted, ragged.centred_product(advantage, logp, counted), -torch.inf)


def draws(batch: Batch, seed: int, purpose: str) -> Tensor:
    """[N] uniform random numbers in fp64, each determined by its token's name: seed, purpose, the version of
    the weights that wrote it, its sequence, its index there. So no order and no cut of the update changes
    them."""
    rows = []
    version = batch.version if batch.version is not None else torch.zeros_like(batch.token)
    for token, written in zip(
        batch.token.split(batch.lengths.tolist()), version.split(batch.lengths.tolist()), strict=True
    ):
        text = hashlib.blake2b(token.cpu().numpy().tobytes()).hexdigest()
        last = int(written[-1]) if len(written) else 0
        rows.append(torch.from_numpy(stream(seed, purpose, last, text).random(len(token))))
    return torch.cat(rows).to(batch.token.device) if rows else torch.zeros(0, dtype=torch.float64)
