"""Writes tables of a run folder as Parquet files that are complete or absent."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from menon.record import disk


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a table, compressed by zstd, to a temporary file and renames it; OSError if there is no room.
    Texts and integers are stored by dictionary. Lists of real numbers are not: hardly any two log-probs of a
    step are equal, so a dictionary would need more room than the numbers.
    """
    names = []
    for field in table.schema:
        nested = pa.types.is_large_list(field.type)
        if not nested:
            names.append(field.name)
        elif pa.types.is_integer(field.type.value_type):
            names.append(f"{field.name}.list.element")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=names)
    disk.write(path, sink.getvalue())
