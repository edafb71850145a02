"""Normalisation of columns by verl, OpenRLHF, ReaLHF and ORZ."""

import numpy as np

from golden.adapters.token_advantages import whitened
from golden.adapters.tools import run
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
    whitened(record, batch, "whitened", 0.0 if record.settings["shift_mean"] else mean)


def openrlhf(record: Record) -> None:
    """Each row apart."""
    found = []
    for mask, x in zip(record.mask, record.inputs["x"], strict=True):
        floor = record.settings["eps"]  # under the variance; ours is added to it
        part = Whiten("population", eps=0 if x[mask > 0].var() > floor else floor)
        batch = run(batch_of(mask[None], advantage=x[None], dtype=record.dtype), part)
        found.append(rows_of(batch, batch.advantage, record.width))
    record.check("normalized", np.concatenate(found))


def realhf(record: Record) -> None:
    mode = "bessel" if record.settings["unbiased"] else "population"
    batch = run(record.batch(advantage="x"), Whiten(mode, eps=record.settings["eps"], eps_on="deviation"))
    record.check("normalized", rows_of(batch, batch.advantage, record.width))


def orz(record: Record) -> None:
    batch = run(record.batch(advantage="advantages"), Whiten("population", eps=record.settings["var_floor"]))
    record.check("advantages", rows_of(batch, batch.advantage, record.width))


ADAPTERS = {
    "openrlhf.util.masked_normalize": openrlhf,
    "orz.advantage.normalize_padded": orz,
    "realhf.util.masked_normalization": realhf,
    "verl.util.masked_statistics": verl,
}
