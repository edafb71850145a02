"""Segments and trees by SPO's authors."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from golden.adapters.tools import check_advantages, mode_of, run
from golden.records import Record
from menon.advantage import SegmentCredit, Whiten
from menon.advantage.segment import EPS, Method
from menon.batch import Batch
from menon.rollout.partition import cut_points, equal_parts
from menon.rollout.segments import fill_backwards
from menon.rollout.tree_values import tree_values
from menon.types import Estimate
from rows import batch_of, rows_of


def answer_of(
    cuts: Sequence[int], states: Sequence[Estimate], length: int, outcome: float, **given: Any
) -> Batch:
    """One answer with values where its segments begin."""
    batch = batch_of([[1] * length], outcome=[outcome], **given)
    columns = torch.full((3, batch.num_tokens), torch.nan, dtype=torch.float64)
    for cut, state in zip(cuts, states, strict=True):
        columns[:, 1 + cut] = torch.tensor([state.value, state.std, state.count], dtype=torch.float64)
    return replace(batch, state_value=columns[0], state_std=columns[1], state_count=columns[2])


def credited(batch: Batch, part: SegmentCredit) -> np.ndarray:
    return rows_of(batch, run(batch, part).need("advantage", part))[0].numpy()


def chain(record: Record) -> None:
    """Their boundary is the last token that is kept, ours the number of tokens."""
    logp, threshold = record.inputs["old_logprobs"], record.settings["probability_threshold"]
    cuts = cut_points(logp, record.settings["cutpoint_interval"], threshold)
    states = [Estimate.of(scores) for scores in record.inputs["rollout_rewards"]]
    record.check("cutpoints", np.array(cuts, dtype=np.int64) - 1)
    record.check("boundary_values", np.array([state.value for state in states]))
    record.check("boundary_std", np.array([state.std for state in states]))
    batch = answer_of(cuts, states, len(logp), record.inputs["score"], behaviour_logp=[logp])
    record.check("advantages_before_mask", credited(batch, SegmentCredit()))
    record.check("advantages", credited(batch, SegmentCredit(below=threshold)))


def equal(record: Record) -> None:
    length = int(record.inputs["response_length"])
    cuts = equal_parts(length, record.settings["parts"])
    states = [Estimate(value, 0.0, 1) for value in record.inputs["boundary_values"].tolist()]
    record.check("cutpoints", np.array(cuts) - 1)
    record.check(
        "advantages", credited(answer_of(cuts, states, length, record.inputs["score"]), SegmentCredit())
    )


def steps(record: Record) -> None:
    """Every step one token; a value that is not estimated is filled in from behind."""
    rewards, values = record.inputs["step_rewards"], record.inputs["values"][:-1]
    assert not rewards[:-1].any()
    found = [None if np.isnan(value) else Estimate(value, 0.0, 1) for value in values.tolist()]
    states = fill_backwards(found, len(rewards), float(rewards[-1]))
    record.check(
        "advantages",
        credited(answer_of(range(len(rewards)), states, len(rewards), rewards[-1]), SegmentCredit()),
    )


def tree(record: Record) -> None:
    """Nodes from parents to children, as the record lists them. Every edge is a sequence of one token."""
    nodes = list(walk(record.inputs["tree"]))
    place = {path: number for number, (path, _) in enumerate(nodes)}
    parent = [0 if not path else place[path[:-1]] for path, _ in nodes]
    score = [float("nan") if node["children"] else float(node["correct"]) for _, node in nodes]
    values = [value for value in tree_values(parent, score) if value is not None]
    told = {tuple(node["path"]): node for node in record.outputs["nodes"]}
    record.check_part("values", [told[path]["value"] for path, _ in nodes], [value.value for value in values])
    inner = [number for number, (path, _) in enumerate(nodes) if told[path]["std"] is not None]
    record.check_part("std", [told[nodes[i][0]]["std"] for i in inner], [values[i].std for i in inner])

    outcome = [[value.value] for value in values[1:]]
    starts = [values[above] for above in parent[1:]]
    batch = batch_of([[1]] * len(outcome), outcome=np.array(outcome)[:, 0])
    columns = torch.full((3, batch.num_tokens), torch.nan, dtype=torch.float64)
    columns[:, 1::2] = torch.tensor([[s.value, s.std, s.count] for s in starts], dtype=torch.float64).T
    batch = replace(batch, state_value=columns[0], state_std=columns[1], state_count=columns[2])
    settings = record.settings
    assert (settings.get("ddof", 0), settings.get("std_eps", 1e-8)) == (0, EPS)
    method: Method = settings["adv_method"]
    part = SegmentCredit(method)
    credit = rows_of(batch, run(batch, part).need("advantage", part))[:, 0].tolist()
    kept = [i for i, a in enumerate(credit) if a != 0 or not settings.get("only_nonzero", False)]
    record.check_part(
        "edges", [edge["advantage"] for edge in record.outputs["edges"]], [credit[i] for i in kept]
    )
    record.check_part(
        "edge values", [edge["value"] for edge in record.outputs["edges"]], [outcome[i][0] for i in kept]
    )


def walk(children: Sequence[Any], path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """(path, node), parents first; the root has no verdict of its own."""
    if not path:
        yield path, {"children": children}
    for number, child in enumerate(children):
        yield (*path, number), child
        yield from walk(child["children"], (*path, number)) if child["children"] else ()


def whiten(record: Record) -> None:
    settings = record.settings
    below = settings.get("threshold", 0.9) if settings.get("probability_mask", True) else 1.0
    part = Whiten(mode_of(settings.get("ddof", 1)), eps=settings.get("eps", 1e-8), below=below)
    batch = record.batch(advantage="advantages", behaviour_logp="old_logprobs")
    check_advantages(record, run(batch, part))


ADAPTERS = {
    "spo.advantage.chain": chain,
    "spo.advantage.chain_equal_parts": equal,
    "spo.advantage.step_mc": steps,
    "spo.advantage.tree": tree,
    "spo.util.masked_whiten_prob": whiten,
}
