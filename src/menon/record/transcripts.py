"""Every rollout of a step in one Parquet file: its texts, its verdict, and everything recorded for its
tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from menon.record.parquet import write_table
from menon.record.spans import TextSpans
from menon.types import Graded, Rollout, StepReport
from menon.unpacking import read_parquet

TOKEN_COLUMN = {"token": "tokens"}
"""A batch's column -> its name in a transcript, where that differs."""

UNASKED = "the reward does not apply to this row"
"""What stands in place of an error where the grader did not fail."""


def write_transcript(path: Path, report: StepReport, spans: TextSpans | None = None) -> pa.Table:
    """One row per rollout, in the order of the batch.

    Columns: step, group, sample, prompt_index, prompt, answer (gold), completion, finish, score, acc (NaN:
    the grader failed, or does not know), parts, error; for nodes of a tree also node, parent, depth,
    node_value, standard_error; learn (False: it is not learned from) and age (steps since it was written);
    and as lists over all tokens of the sequence, prompt included: tokens, is_action and every other column
    that the step filled (behaviour_logp, log_kept, entropy, version, old_logp, ref_logp, value, state_value,
    reward, advantage, ret). With `spans` also text (the whole sequence, special tokens shown) and text_start
    (where each token begins in it; see `record.spans`). With an environment whose observations the grader did
    not read also graded_text, which is what it read. Where a sampler gave them, alternatives and
    alternatives_logp: lists over the action tokens, each of k tokens or of their log-probs. The file is
    complete or absent; OSError if there is no room. Returns what it holds.
    """
    table = _table(report, spans)
    write_table(path, table)
    return table


def write_answers(
    path: Path, step: int, graded: Sequence[Graded], spans: TextSpans | None = None
) -> pa.Table:
    """The answers of an evaluation in the same form, with the sampler's columns of their tokens."""
    rollouts = [g.rollout for g in graded]
    offset = np.cumsum([0, *(len(r.tokens) for r in rollouts)])

    def column(name: str) -> NDArray:
        return np.concatenate([getattr(r, name) for r in rollouts])

    columns = {"token": column("tokens"), "is_action": column("is_action"), "behaviour_logp": column("logp")}
    given = [name for name in ("entropy", "version") if all(getattr(r, name) is not None for r in rollouts)]
    columns |= {name: column(name) for name in given}
    columns["reward"] = np.zeros(int(offset[-1]), dtype=np.float32)
    return write_transcript(path, StepReport(step, {}, tuple(graded), columns, offset, ""), spans)


def read_transcript(
    path: Path, columns: Sequence[str] | None = None, group: int | None = None
) -> list[dict[str, Any]]:
    """The rows of `write_transcript`, or those of one group, with the named columns or all; `parts` is a
    dictionary again."""
    only = None if group is None else [("group", "=", group)]
    rows = read_parquet(path, columns, only).to_pylist()
    return [row | {"parts": dict(row["parts"])} if "parts" in row else row for row in rows]


def _table(report: StepReport, spans: TextSpans | None) -> pa.Table:
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
        "error": pa.array([_sound(v.error) if v.applies else UNASKED for v in verdicts], pa.string()),
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
    columns |= _alternatives(rollouts)
    if spans is not None:
        texts = [spans(rollout.tokens) for rollout in rollouts]
        starts = np.concatenate([start for _, start in texts]) if texts else np.zeros(0, dtype=np.int32)
        columns["text"] = pa.array([_sound(text) for text, _ in texts], pa.string())
        columns["text_start"] = pa.LargeListArray.from_arrays(bounds, pa.array(starts, pa.int32()))
    if any(rollout.written is not None for rollout in rollouts):
        columns["graded_text"] = pa.array([_sound(r.graded_text) for r in rollouts], pa.string())
    return pa.table(columns)


def _alternatives(rollouts: Sequence[Rollout]) -> dict[str, pa.Array]:
    """The k most probable tokens for each action token, where a sampler gave them: lists over the actions of
    a sequence, null for a sequence without."""
    wide = next((r.alternatives.shape[1] for r in rollouts if r.alternatives is not None), None)
    if wide is None:
        return {}
    columns = {}
    for name, kind in (("alternatives", pa.int32()), ("alternatives_logp", pa.float32())):
        rows = [None if (given := getattr(r, name)) is None else given[r.is_action] for r in rollouts]
        lengths = [0 if row is None else len(row) for row in rows]
        offset = pa.array(np.cumsum([0, *lengths]), pa.int64())
        flat = np.concatenate([row.reshape(-1) for row in rows if row is not None])
        inner = pa.FixedSizeListArray.from_arrays(pa.array(flat, kind), wide)
        missing = pa.array([row is None for row in rows])
        columns[name] = pa.LargeListArray.from_arrays(offset, inner, mask=missing)
    return columns


def _standard_errors(rollouts: Sequence[Rollout]) -> list[float]:
    """The standard error of each node's value, which its children start from; NaN for a leaf and outside of
    trees."""
    starts = {(r.group, r.parent): state for r in rollouts if r.node >= 0 for state in r.states.values()}
    return [
        state.error if r.node >= 0 and (state := starts.get((r.group, r.node))) else np.nan for r in rollouts
    ]


def _sound(text: str) -> str:
    """The text with each half of a surrogate pair, which has no UTF-8 encoding, replaced by a question mark;
    a byte-level model can be made to write one."""
    return text.encode("utf-8", "replace").decode("utf-8")
