"""What each update of a step did to each token, in one Parquet file per step: the part of `record=full` that
the learner knows."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from menon.record.parquet import write_table
from menon.types import UpdateRecord
from menon.unpacking import read_parquet

KEY = ("update", "model", "term")
TOKENS = ("weight", "logp_before", "logp_after", "entropy_before")


def write_updates(path: Path, step: int, records: Sequence[UpdateRecord]) -> None:
    """One row per update, term and sequence: step, update, model, term, sequence (row of the step's
    transcript), and as lists over the tokens of that sequence weight, logp_before, logp_after,
    entropy_before (null where the update was not asked for them). The file is complete or absent; OSError if
    there is no room."""
    rows = sum(len(record.sequence) for record in records)
    columns = {"step": pa.array(np.full(rows, step), pa.int64())}
    for name, kind in zip(KEY, (pa.int64(), pa.string(), pa.string()), strict=True):
        values = [getattr(record, name) for record in records for _ in record.sequence]
        columns[name] = pa.array(values, kind)
    columns["sequence"] = pa.array([int(row) for record in records for row in record.sequence], pa.int64())
    for name in TOKENS:
        columns[name] = pa.array(
            [row for record in records for row in _rows(record, getattr(record, name))],
            pa.large_list(pa.float32()),
        )
    write_table(path, pa.table(columns))


def read_updates(path: Path) -> list[UpdateRecord]:
    """What `write_updates` wrote, in its order."""
    table = read_parquet(path)
    keys = list(zip(*(table[name].to_pylist() for name in KEY), strict=True))
    sequence = table["sequence"].to_numpy()
    records, begin = [], 0
    has_entropy = "entropy_before" in table.column_names  # not in folders of earlier versions
    for (update, model, term), rows in groupby(keys):
        end = begin + len(list(rows))
        part = table.slice(begin, end - begin)
        lengths = pc.list_value_length(part["weight"]).to_numpy()
        records.append(
            UpdateRecord(
                update,
                model,
                term,
                sequence=sequence[begin:end],
                offset=np.cumsum([0, *lengths]),
                weight=pc.list_flatten(part["weight"]).to_numpy(),
                logp_before=_flat(part["logp_before"]),
                logp_after=_flat(part["logp_after"]),
                entropy_before=_flat(part["entropy_before"]) if has_entropy else None,
            )
        )
        begin = end
    return records


def _rows(record: UpdateRecord, values: NDArray | None) -> Sequence[NDArray | None]:
    if values is None:
        return [None] * len(record.sequence)
    return np.split(values, record.offset[1:-1]) if len(record.sequence) else []


def _flat(column: pa.ChunkedArray) -> NDArray[np.float32] | None:
    return None if column.null_count else pc.list_flatten(column).to_numpy()
