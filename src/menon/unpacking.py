"""Reads packed files: Parquet and gzip unfold to a fixed multiple of their size at most."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

FREE, TIMES = 64 << 20, 100
"""A file may unfold to so many bytes, and to so many times its size on top. Transcripts have 10 times."""


class TooLarge(UserError):
    """The file would unfold to more than it may."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} would unfold to more than {most(path) >> 20:,} MiB, {TIMES} times its size; if you "
            "trust it, unpack it, or save its rows anew in a file that is packed less"
        )


def most(path: Path) -> int:
    """The bytes that a file may unfold to."""
    return FREE + TIMES * path.stat().st_size


def gunzip(path: Path) -> bytes:
    """What a gzip file holds. UserError: TooLarge; errors of gzip and zlib as they are."""
    with gzip.open(path) as file:
        data = file.read(most(path) + 1)
    if len(data) > most(path):
        raise TooLarge(path)
    return data


def read_parquet(path: Path, columns: Sequence[str] | None = None, filters: Any = None) -> "pa.Table":
    """A Parquet file, or some of its columns and rows. UserError: TooLarge; errors of pyarrow as they are.

    Texts are read as indices into a dictionary, so that one long text that stands in many rows is there once
    until the whole is known to have room. The footer bounds everything else before it is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    schema, limit = about.schema, most(path)
    groups = [about.row_group(group) for group in range(about.num_row_groups)]
    chunks = [group.column(column) for group in groups for column in range(about.num_columns)]
    if sum(max(chunk.total_uncompressed_size, 8 * chunk.num_values) for chunk in chunks) > limit:
        raise TooLarge(path)
    leaves = [schema.column(place) for place in range(len(schema))]
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    names = None if columns is None else list(columns)
    table = pq.read_table(path, columns=names, filters=filters, read_dictionary=texts)
    if sum(unfolded(chunk) for column in table.columns for chunk in column.chunks) > limit:
        raise TooLarge(path)
    return table.cast(pa.schema([field.with_type(plain(field.type)) for field in table.schema]))


def unfolded(array: "pa.Array") -> int:
    """The bytes of an array whose dictionaries are written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        return pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0
    if pa.types.is_map(kind):
        return unfolded(array.keys) + unfolded(array.items)
    if pa.types.is_struct(kind):
        return sum(map(unfolded, array.flatten()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return unfolded(array.values)
    return array.nbytes


def plain(kind: "pa.DataType") -> "pa.DataType":
    """The type with the values of its dictionaries."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(plain(field.type)) for field in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain(kind.value_type), kind.list_size)
    for is_list, of in ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list)):
        if is_list(kind):
            return of(plain(kind.value_type))
    return kind
