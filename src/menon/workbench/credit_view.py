"""Where the credit of a group comes from: its tree, the segments of its answers, or the turns of its
environment."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.cli.show_tree import value_of
from menon.errors import UserError
from menon.record.reader import RunView
from menon.record.spans import pieces_of

ROW = ("group", "sample", "prompt", "answer", "completion", "finish", "score", "acc", "error", "learn", "age")
TREE = ("node", "parent", "depth", "standard_error")
LISTS = (
    "tokens",
    "is_action",
    "advantage",
    "state_value",
    "state_std",
    "state_count",
    "reward",
    "text",
    "text_start",
)


def group_of(view: RunView, step: int, group: int) -> dict[str, Any]:
    """A group as a page draws it: `kind` is tree, segments, turns or answers. UserError without such a
    group."""
    stored = view.transcripts.columns(step)
    places = [row for row, one in enumerate(view.transcripts.rows(step, ["group"])) if one["group"] == group]
    if not places:
        there = sorted({one["group"] for one in view.transcripts.rows(step, ["group"])})
        raise UserError(f"step {step} of {view.name} has no group {group}; it has {there[0]} to {there[-1]}")
    names = [name for name in (*ROW, *TREE, *LISTS) if name in stored]
    rows = [
        {**one, "row": row}
        for row, one in zip(places, view.transcripts.rows(step, names, group), strict=True)
    ]
    head = {"step": step, "group": group, "prompt": rows[0]["prompt"], "answer": rows[0].get("answer")}
    if any(row.get("node", -1) >= 0 for row in rows):
        return head | tree_of(rows)
    answers = [chain_of(row) for row in rows]
    if any(len(answer["segments"]) > 0 for answer in answers):
        kind = "segments"
    else:
        kind = "turns" if any(len(answer["turns"]) > 1 for answer in answers) else "answers"
    return head | {"kind": kind, "answers": answers}


def tree_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The nodes of a tree below the prompt, which is node 0. Edges that waited since an earlier step come
    without the nodes above them; they hang from the prompt and say so."""
    value, error = value_of(rows)
    known = {row["node"]: row for row in rows}
    nodes = [
        {
            "row": row["row"],
            "node": row["node"],
            "parent": row["parent"] if row["parent"] in known else 0,
            "loose": row["parent"] not in known and row["parent"] != 0,
            "depth": row["depth"],
            "value": row["score"],
            "error": row.get("standard_error"),
            "advantage": mean_advantage(row),
            "start": start_value(row),
            "learn": row.get("learn", True),
            "age": row.get("age", 0),
            "acc": row["acc"],
            "finish": row["finish"],
            "length": int(sum(row["is_action"])),
            "text": own_text(row, known),
        }
        for row in rows
    ]
    whole = not any(node["loose"] for node in nodes)
    return {
        "kind": "tree",
        "value": value if whole else math.nan,
        "error": error if whole else math.nan,
        "nodes": nodes,
    }


def own_text(row: Mapping[str, Any], known: Mapping[int, Mapping[str, Any]]) -> str:
    """The text that a node adds to its parent's."""
    above = known.get(row["parent"])
    if above is not None:
        return row["completion"].removeprefix(above["completion"])
    return (
        "".join(piece for piece, acts in zip(pieces(row), row["is_action"], strict=True) if acts)
        or row["completion"]
    )


def pieces(row: Mapping[str, Any]) -> list[str]:
    """The text of each token; empty in folders of format 1."""
    if row.get("text_start") is None or row.get("text") is None:
        return [""] * len(row["is_action"])
    return pieces_of(row["text"], row["text_start"])


def mean_advantage(row: Mapping[str, Any]) -> float:
    """The mean over the tokens that the policy wrote, of those that were learned from; NaN: none."""
    if row.get("advantage") is None or not row.get("learn", True) or math.isnan(row["score"]):
        return math.nan
    values = [value for value, acts in zip(row["advantage"], row["is_action"], strict=True) if acts]
    return float(np.mean(values)) if values else math.nan


def start_value(row: Mapping[str, Any]) -> float:
    """The sampled value where the node starts; NaN: none."""
    values = [value for value in row.get("state_value") or () if not math.isnan(value)]
    return values[0] if values else math.nan


def chain_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """An answer with its segments (where sampled values say that one begins) and its turns."""
    acts = np.array(row["is_action"], dtype=bool)
    begin = int(acts.argmax()) if acts.any() else len(acts)
    texts = pieces(row)
    one = {
        name: row.get(name)
        for name in ("row", "sample", "score", "acc", "finish", "completion", "learn", "error")
    }
    return one | {
        "length": int(acts.sum()),
        "advantage": mean_advantage(row),
        "segments": segments(row, acts, begin, texts),
        "turns": turns(row, acts, begin, texts),
    }


def segments(
    row: Mapping[str, Any], acts: NDArray[np.bool_], begin: int, texts: Sequence[str]
) -> list[dict[str, Any]]:
    """The segments of an answer: the value at their start with its standard error, the gain (the value where
    the next one starts, or the answer's reward, minus that), and the least and largest advantage of their
    tokens. What stands before the first cut is a segment without a value."""
    if row.get("state_value") is None:
        return []
    names = ("state_value", "state_std", "state_count")
    value, std, count = (np.array(row[name], dtype=float) for name in names)
    cuts = (acts & ~np.isnan(value)).nonzero()[0].tolist()
    if not cuts:
        return []
    advantage = np.array(row.get("advantage") or np.full(len(acts), np.nan), dtype=float)
    outcome = float(np.sum(row["reward"])) if row.get("reward") else row["score"]
    found = []
    for low, high in pairwise([*([begin] if cuts[0] > begin else []), *cuts, len(acts)]):
        end = value[high] if high < len(acts) else outcome
        own = advantage[low:high][acts[low:high]]
        error = float(std[low] / count[low] ** 0.5) if count[low] > 0 else math.nan
        found.append(
            {
                "begin": low,
                "end": high,
                "text": "".join(texts[low:high]),
                "value": float(value[low]),
                "error": error,
                "samples": float(count[low]),
                "gain": float(end - value[low]),
                "advantage": [float(own.min()), float(own.max())] if len(own) else [math.nan, math.nan],
            }
        )
    return found


def turns(
    row: Mapping[str, Any], acts: NDArray[np.bool_], begin: int, texts: Sequence[str]
) -> list[dict[str, Any]]:
    """The stretches of an answer by who wrote them, with the reward that was given in each."""
    changes = [begin, *(begin + 1 + np.flatnonzero(acts[begin + 1 :] != acts[begin:-1])).tolist(), len(acts)]
    reward = np.array(row.get("reward") or np.zeros(len(acts)), dtype=float)
    return [
        {
            "by": "policy" if acts[low] else "environment",
            "begin": low,
            "length": high - low,
            "text": "".join(texts[low:high]),
            "reward": float(reward[low:high].sum()),
        }
        for low, high in pairwise(changes)
        if high > low
    ]
