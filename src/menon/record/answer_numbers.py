"""The numbers and the texts of each answer of a step, from the columns of its transcript."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from menon.record.metrics import REFLECTION
from menon.types import FINISHES

WHOLE = {"group": -1, "sample": 0, "prompt_index": -1, "node": -1, "parent": -1, "depth": 0, "age": 0}
"""Columns of whole numbers -> what stands for them in a file without them."""
TEXTS = ("prompt", "completion", "graded_text", "answer", "error", "parts")
"""What an answer has besides its numbers and its tokens."""
READ = (*WHOLE, *TEXTS, "score", "acc", "learn", "finish", "is_action", "advantage")
"""The columns of a transcript that numbers and texts are made of."""
NUMBERS = np.dtype(
    [(name, "<i8") for name in (*WHOLE, "step", "row", "finish", "length")]
    + [(name, "<f8") for name in ("score", "acc", "advantage")]
    + [(name, "?") for name in ("learn", "reflects", "disagrees")]
)
"""An answer: `WHOLE`; step; row in its file; finish (place in `FINISHES`, -1: none of them); length (tokens
that the policy wrote); score and acc; advantage (mean over the tokens that were learned from, NaN: none);
whether it is learned from, reflects, and its named rewards disagree."""
SAME = 1e-9
"""Parts of a reward that differ by no more agree."""


def numbers_of(table: pa.Table, step: int) -> NDArray[np.void]:
    """[S] `NUMBERS` of a step's answers; a column that the table lacks has its stand-in, or NaN."""
    found = np.empty(table.num_rows, dtype=NUMBERS)
    stored = set(table.column_names)
    stands = {**WHOLE, "score": np.nan, "acc": np.nan, "learn": True}
    for name, instead in stands.items():
        found[name] = table[name].to_numpy() if name in stored else instead
    found["step"], found["row"] = step, np.arange(table.num_rows)
    found["finish"] = pc.index_in(table["finish"], pa.array(FINISHES)).fill_null(-1).to_numpy()
    acts, bounds = flat(table["is_action"])
    found["length"] = sums(acts, bounds)
    learned = acts & np.repeat(found["learn"] & ~np.isnan(found["score"]), np.diff(bounds))
    found["advantage"] = np.nan
    if "advantage" in stored:
        number = sums(learned, bounds)
        total = sums(np.where(learned, flat(table["advantage"])[0], 0), bounds)
        found["advantage"][number > 0] = total[number > 0] / number[number > 0]
    written = table["graded_text" if "graded_text" in stored else "completion"]
    pattern = "|".join(one.pattern for one in REFLECTION.values())
    found["reflects"] = pc.match_substring_regex(written, pattern).fill_null(False).to_numpy()
    found["disagrees"] = apart(table["parts"]) if "parts" in stored else False
    return found


def flat(column: pa.ChunkedArray) -> tuple[NDArray, NDArray[np.int64]]:
    """[N] the elements of a column of lists, and [S+1] where the list of each row begins."""
    lengths = pc.list_value_length(column).to_numpy()
    return pc.list_flatten(column).to_numpy(), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def sums(values: NDArray, bounds: NDArray[np.int64]) -> NDArray:
    """[S] sums of the values between the bounds."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.float64 if values.dtype.kind == "f" else None)])
    return total[bounds[1:]] - total[bounds[:-1]]


def apart(parts: pa.ChunkedArray) -> NDArray[np.bool_]:
    """[S] whether the named parts of a reward give different numbers; parts without a number do not count."""
    found = [dict(row or ()).values() for row in parts.to_pylist()] if has_several(parts) else []
    known = [[value for value in row if value is not None and value == value] for row in found]
    differ = [len(row) > 1 and max(row) - min(row) > SAME for row in known]
    return np.array(differ, dtype=bool) if differ else np.zeros(len(parts), dtype=bool)


def has_several(parts: pa.ChunkedArray) -> bool:
    """Whether any row has more than one part: most runs have none, and looking at each row takes long."""
    return any((np.diff(chunk.offsets.to_numpy()) > 1).any() for chunk in parts.chunks)


def texts_of(table: pa.Table) -> pa.Table:
    """Those of `TEXTS` that the table has, the named rewards as JSON."""
    texts = table.select([name for name in TEXTS if name in table.column_names])
    if "parts" not in texts.column_names:
        return texts
    rows = [None if row is None else json.dumps(dict(row)) for row in texts["parts"].to_pylist()]
    return texts.set_column(texts.column_names.index("parts"), "parts", pa.array(rows, pa.string()))
