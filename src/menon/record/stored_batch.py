"""Reads a step's transcript as a flat batch, for analyses."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from menon.batch import Batch, columns_per
from menon.record.transcripts import TOKEN_COLUMN
from menon.types import FINISHES
from menon.unpacking import read_parquet


def read_batch(path: Path) -> Batch:
    """The tokens of a step with the columns that analyses need, without texts. Rewards are those after the
    advantage stage. An answer from elsewhere whose end is `unknown` counts as one that stopped."""
    per_token = {name: TOKEN_COLUMN.get(name, name) for name in columns_per("token")}
    per_sequence = {"group", "finish", "score", "acc", "learn", "node", "parent"}
    stored = set(pq.read_schema(path).names)
    table = read_parquet(path, columns=sorted(stored & (per_sequence | set(per_token.values()))))
    offset = np.cumsum([0, *pc.list_value_length(table["tokens"]).to_numpy()])

    def tensor(name: str) -> Tensor:
        column = table[name]
        flat = pc.list_flatten(column) if pa.types.is_large_list(column.type) else column
        return torch.from_numpy(flat.to_numpy().copy())

    tree = "node" in stored and bool(pc.any(pc.greater_equal(table["node"], 0)).as_py())
    tokens: dict[str, Any] = {name: tensor(column) for name, column in per_token.items() if column in stored}
    return Batch(
        offset=torch.from_numpy(offset.astype(np.int64)),
        group=tensor("group"),
        finish=torch.tensor(
            [FINISHES.index(one if one in FINISHES else "stop") for one in table["finish"].to_pylist()],
            dtype=torch.int64,
        ),
        valid=~tensor("score").isnan(),
        acc=tensor("acc").float(),
        learn=torch.tensor(table["learn"].to_pylist(), dtype=torch.bool) if "learn" in stored else None,
        node=tensor("node") if tree else None,
        parent=tensor("parent") if tree else None,
        **tokens,
    )
