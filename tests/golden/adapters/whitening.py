"""Normalisation of columns by verl, OpenRLHF, ReaLHF and ORZ."""

import numpy as np

from golden.adapters.token_advantages import whitened
from golden.adapters.tools import floored, mode_of, run
from golden.records import Record
from menon import ragged
from menon.advantage import Whiten
from rows import batch_of, rows_of


def verl(record: Record) -> None:
    """Without `shift_mean` the mean is added again."""
    batch = record.batch(advantage="x")
    assert batch.advantage is not None
    mean = float(ragged.masked_mean(batch.advantage, batch.trained))
    record.check("mean", mean)
    whitened(record, batch, "whitened", 0.0 if record.settings.get("shift_mean", True) else mean)


def openrlhf(record: Record) -> None:
    """Each row apart."""
    settings = record.settings
    mode = mode_of(settings.get("ddof", 0))
    found = []
    for mask, x in zip(record.mask, record.inputs["x"], strict=True):
        batch = batch_of(mask[None], advantage=x[None], dtype=record.dtype)
        batch = run(batch, floored(record, batch, settings.get("eps", 1e-8), mode))
        found.append(rows_of(batch, batch.advantage, record.width))
    record.check("normalized", np.concatenate(found))


def realhf(record: Record) -> None:
    mode = mode_of(record.settings.get("unbiased", False))
    part = Whiten(mode, eps=record.settings.get("eps", 1e-5), eps_on="deviation")
    batch = run(record.batch(advantage="x"), part)
    record.check("normalized", rows_of(batch, batch.advantage, record.width))


def orz(record: Record) -> None:
    settings = record.settings
    batch = record.batch(advantage="advantages")
    part = floored(record, batch, settings.get("var_floor", 1e-8), mode_of(settings.get("ddof", 0)))
    record.check("advantages", rows_of(batch, run(batch, part).need("advantage", part), record.width))


ADAPTERS = {
    "openrlhf.util.masked_normalize": openrlhf,
    "orz.advantage.normalize_padded": orz,
    "realhf.util.masked_normalization": realhf,
    "verl.util.masked_statistics": verl,
}
