"""Tables of a run folder as Parquet files that are whole or absent."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from menon.record import disk


def write_table(path: Path, table: pa.Table) -> None:
    """Compressed by zstd, written aside and renamed; OSError if there is no room.

    Texts and whole numbers are stored by dictionary. Lists of real numbers are not: hardly any two of a
    step's log-probs are equal, and a dictionary of them takes more room than they do.
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
