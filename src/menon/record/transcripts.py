"""Every rollout of a step in one Parquet file: its texts, its verdict, and all that is known of its
tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from menon.batch import Batch, columns_per
from menon.record import disk
from menon.types import FINISHES, Graded, Rollout, StepReport

TOKEN_COLUMN = {"token": "tokens"}
"""A batch's column -> its name in a transcript, where that differs."""


def write_transcript(path: Path, report: StepReport) -> None:
    """One row per rollout, in the order of the batch.

    Columns: step, group, sample, prompt_index, prompt, answer (gold), completion, finish, score, acc (NaN:
    the grader failed, or does not know), parts, error; of a node node, parent, depth, node_value,
    standard_error; learn (False: it is not learned from) and age (steps since it was written); and as lists
    over all tokens of the sequence, prompt included: tokens, is_action and every other column that the step
    filled (behaviour_logp, log_kept, entropy, version, old_logp, ref_logp, value, state_value, reward,
    advantage, ret). Written aside and renamed; OSError if there is no room.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(_table(report), sink, compression="zstd")
    disk.write(path, sink.getvalue())


def write_answers(path: Path, step: int, graded: Sequence[Graded]) -> None:
    """The answers of an evaluation in the same form, with what the sampler knew of their tokens."""
    rollouts = [g.rollout for g in graded]
    offset = np.cumsum([0, *(len(r.tokens) for r in rollouts)])

    def column(name: str) -> NDArray:
        return np.concatenate([getattr(r, name) for r in rollouts])

    columns = {"token": column("tokens"), "is_action": column("is_action"), "behaviour_logp": column("logp")}
    columns |= {name: column(name) for name in ("entropy", "version")}
    columns["reward"] = np.zeros(int(offset[-1]), dtype=np.float32)
    write_transcript(path, StepReport(step, {}, tuple(graded), columns, offset, ""))


def read_transcript(path: Path) -> list[dict[str, Any]]:
    """The rows of `write_transcript`; `parts` is a dictionary again."""
    rows = pq.read_table(path).to_pylist()
    return [row | {"parts": dict(row["parts"])} for row in rows]


def read_batch(path: Path) -> Batch:
    """A step's tokens again: what an analysis needs of them, without texts. Rewards are as the advantage
    stage left them."""
    table = pq.read_table(path)
    offset = np.cumsum([0, *pc.list_value_length(table["tokens"]).to_numpy()])

    def tensor(name: str) -> Tensor:
        column = table[name]
        flat = pc.list_flatten(column) if pa.types.is_large_list(column.type) else column
        return torch.from_numpy(flat.to_numpy().copy())

    per_token = {name: TOKEN_COLUMN.get(name, name) for name in columns_per("token")}
    tokens: dict[str, Any] = {
        name: tensor(stored) for name, stored in per_token.items() if stored in table.column_names
    }
    return Batch(
        offset=torch.from_numpy(offset.astype(np.int64)),
        group=tensor("group"),
        finish=torch.tensor(
            [FINISHES.index(finish) for finish in table["finish"].to_pylist()], dtype=torch.int64
        ),
        valid=~tensor("score").isnan(),
        acc=tensor("acc").float(),
        learn=torch.tensor(table["learn"].to_pylist(), dtype=torch.bool)
        if "learn" in table.column_names
        else None,
        **tokens,
    )


def _table(report: StepReport) -> pa.Table:
    rollouts = [g.rollout for g in report.graded]
    verdicts = [g.verdict for g in report.graded]
    columns = {
        "step": pa.array([report.step] * len(rollouts), pa.int64()),
        "group": pa.array([r.group for r in rollouts], pa.int64()),
        "sample": pa.array([r.sample for r in rollouts], pa.int64()),
        "prompt_index": pa.array([r.prompt.index for r in rollouts], pa.int64()),
        "prompt": pa.array([_sound(r.prompt.text) for r in rollouts], pa.string()),
        "answer": pa.array(
            [None if r.prompt.answer is None else _sound(r.prompt.answer) for r in rollouts], pa.string()
        ),
        "completion": pa.array([_sound(r.text) for r in rollouts], pa.string()),
        "finish": pa.array([r.finish for r in rollouts], pa.string()),
        "score": pa.array([v.score for v in verdicts], pa.float64()),
        "acc": pa.array([v.acc for v in verdicts], pa.float64()),
        "parts": pa.array([list(v.parts.items()) for v in verdicts], pa.map_(pa.string(), pa.float64())),
        "error": pa.array([_sound(v.error) for v in verdicts], pa.string()),
        "node": pa.array([r.node for r in rollouts], pa.int64()),
        "parent": pa.array([r.parent for r in rollouts], pa.int64()),
        "depth": pa.array([r.depth for r in rollouts], pa.int64()),
        "node_value": pa.array(
            [g.verdict.score if g.rollout.node >= 0 else np.nan for g in report.graded], pa.float64()
        ),
        "standard_error": pa.array(_standard_errors(rollouts), pa.float64()),
        "learn": pa.array([g.learn for g in report.graded], pa.bool_()),
        "age": pa.array([g.age for g in report.graded], pa.int64()),
    }
    bounds = pa.array(report.offset.astype(np.int64), pa.int64())
    for name, values in report.columns.items():
        columns[TOKEN_COLUMN.get(name, name)] = pa.LargeListArray.from_arrays(bounds, pa.array(values))
    return pa.table(columns)


def _standard_errors(rollouts: Sequence[Rollout]) -> list[float]:
    """Of each node's value, which its children start from; a leaf has none, and what is no node neither."""
    starts = {(r.group, r.parent): state for r in rollouts if r.node >= 0 for state in r.states.values()}
    return [
        state.error if r.node >= 0 and (state := starts.get((r.group, r.node))) else np.nan for r in rollouts
    ]


def _sound(text: str) -> str:
    """Half a surrogate pair, which a byte-level model can be made to write, has no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
