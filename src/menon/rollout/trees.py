"""Trees of continuations (SPO-tree, arXiv 2505.23564, section 4.1): values from the leaves up, edges to train
on."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator

from menon.errors import UserError
from menon.parts import Around
from menon.rollout.protocols import Collected, Grade, Prompts, Sampler, StepSizes
from menon.rollout.replay import Replay, State, regrouped
from menon.rollout.segments import finished_only
from menon.rollout.tree_growth import Node, Tree, TreeShape, grow
from menon.rollout.tree_values import tree_values
from menon.truth import settled_verdicts
from menon.types import Estimate, Graded, Max, Mean, Metric, Sum, Verdict

SAME = 1e-9
"""Values that differ by less than this are equal up to rounding, so their edge has no signal."""
RECORD_BYTES = 25
"""Bytes that a node keeps for each token of its sequence: id, log-prob, log kept, entropy, version, and
whether the policy wrote it."""


def dashed(value: Any) -> Any:
    """A list of numbers in the usual notation of a tree's shape: "6-6-6" is [6, 6, 6], and a single number is
    a list of one."""
    if isinstance(value, str) and all(part.isdecimal() for part in value.split("-")):
        return [int(part) for part in value.split("-")]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Dashed = Annotated[tuple[int, ...], BeforeValidator(dashed)]


@dataclass(frozen=True)
class Trees:
    """A tree of the given shape for every prompt. A node above the last level that has used its room is
    continued; one that ends before is an early leaf. Nodes of the last level run to their end, within
    `sampling.max_new_tokens` for the whole answer; a node that is cut by it scores 0.

    Every node is one sequence: prompt and prefix are given, its own tokens are actions, so each token carries
    loss once. All nodes are in the record. The step learns from nodes whose value differs from their
    parent's, as `replay` chooses them, and from waiting edges of earlier steps.
    """

    branching: Dashed = (6, 6, 6)
    """Children of each node, level by level."""
    segment_tokens: Dashed = (30,)
    """Tokens of a node, level by level, or one number for all."""
    edges_per_question: int = 32
    """Most edges of a question that a step learns from."""
    edges_per_step: int = 0
    """Edges that a step learns from; the others wait; 0: all."""
    max_age: int = 8
    """Steps after which an edge that waits is dropped."""
    kind: Literal["tree"] = "tree"
    writes: ClassVar[tuple[str, ...]] = (
        *("state_value", "state_std", "state_count"),
        *("node", "parent", "learn"),
    )
    forks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.shape, self.replay  # noqa: B018  # both refuse settings without sense

    @property
    def shape(self) -> TreeShape:
        return TreeShape(self.branching, self.segment_tokens)

    @property
    def replay(self) -> Replay:
        return Replay(self.edges_per_question, self.max_age, self.edges_per_step)

    def check(self, name: str, around: Around) -> None:
        if around.samples_per_prompt > 1:
            raise UserError(
                f"samples_per_prompt is {around.samples_per_prompt}, and branching alone says how many "
                "answers a tree has; set samples_per_prompt=1"
            )
        self.shape.check(around.sampling.max_new_tokens)

    def sizes(self, around: Around) -> StepSizes:
        trees, shape, replay = around.prompts_per_step, self.shape, self.replay
        leaves = trees * math.prod(shape.branching)
        edges = min(replay.per_question, shape.most_nodes()) * trees * replay.max_age
        return StepSizes(
            answers=leaves,
            tokens=trees * shape.most_tokens(0, around.sampling.max_new_tokens),
            at_once=leaves,
            sequences=min(edges, replay.per_step) if replay.per_step else edges,
            unit="edges",
            max_age=replay.max_age,
            form=f"{trees} trees of {'-'.join(map(str, shape.branching))}",
        )

    def cache_bytes(self, around: Around, prompt_tokens: int, per_token: int, slots: int) -> int:
        """Keys and values of all distinct tokens of the trees and of the answers that are being written, and
        the record of every node."""
        room = around.sampling.max_new_tokens
        distinct, nodes = self.shape.most_tokens(prompt_tokens, room), self.shape.most_nodes()
        whole = prompt_tokens + room
        trees = around.prompts_per_step * (distinct * per_token + nodes * whole * RECORD_BYTES)
        return trees + slots * whole * per_token

    def init(self) -> State:
        return self.replay.init()

    def __call__(
        self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around, state: State
    ) -> Collected:
        """Nodes level by level within each tree, trees in the order of the prompts; after them edges of
        earlier steps."""
        trees = grow(
            prompts.take(around.prompts_per_step),
            self.shape,
            around.sampling,
            sampler,
            finished_only(grade),
        )
        settle(trees)
        found = [estimates(tree, "score") for tree in trees]
        edges = [edge for tree, values in zip(trees, found, strict=True) for edge in tree_edges(tree, values)]
        chosen, state, dropped = self.replay.choose(
            [edge for edge in edges if edge.learn], state, around.seed
        )
        now = {(edge.rollout.group, edge.rollout.node) for edge in chosen if not edge.age}
        fresh = [replace(edge, learn=(edge.rollout.group, edge.rollout.node) in now) for edge in edges]
        old = regrouped([edge for edge in chosen if edge.age], len(trees))
        right = [estimates(tree, "acc")[0] for tree in trees]
        metrics = metrics_of(trees, [values[0] for values in found], right, len(self.shape.branching)) | {
            "tree/edges": Sum(sum(edge.learn for edge in edges)),
            "replay/fresh": Sum(len(now)),
            "replay/old": Sum(len(old)),
            "replay/waiting": Sum(len(state["edges"])),
            "replay/dropped": Sum(dropped),
        }
        return Collected([*fresh, *old], metrics, state)


def settle(trees: Sequence[Tree]) -> None:
    """Takes the accs of all answers for what they are (`menon.truth`)."""
    verdicts = iter(settled_verdicts([verdict for tree in trees for verdict in tree.verdicts]))
    for tree in trees:
        tree.verdicts = list(islice(verdicts, len(tree.verdicts)))


def estimates(tree: Tree, of: Literal["score", "acc"]) -> list[Estimate | None]:
    """The estimate of every node, the prompt first."""
    return tree_values(tree.parents, [math.nan, *(getattr(verdict, of) for verdict in tree.verdicts)])


def tree_edges(tree: Tree, found: Sequence[Estimate | None]) -> list[Graded]:
    """Every node as a sequence: it starts in its parent's value, and its score is its own. `learn` says that
    the two differ; a node that the sampler aborted before its first token has no start and no signal."""
    edges = []
    for node, verdict, value in zip(tree.nodes, tree.verdicts, found[1:], strict=True):
        start = found[node.parent]
        assert start is not None  # it has children
        place = len(node.rollout.tokens) - node.rollout.num_actions
        empty = place == len(node.rollout.tokens)
        known = value is not None and value.count > 0 and start.count > 0 and not empty
        rollout = replace(node.rollout, states={} if empty else {place: start})
        own = verdict if node.leaf or value is None else Verdict(value.value, math.nan)
        edges.append(
            Graded(rollout, own, learn=known and value is not None and abs(value.value - start.value) > SAME)
        )
    return edges


def metrics_of(
    trees: Sequence[Tree], roots: Sequence[Estimate | None], right: Sequence[Estimate | None], levels: int
) -> dict[str, Metric]:
    """Metrics of whole answers, weighted by the tree: the policy's expected score and length. The weights
    remove the bias that nodes which end early have fewer leaves. `roots` and `right` are score and
    correctness of the prompts' nodes."""
    leaves = list(leaves_of(trees))
    nodes = [node for tree in trees for node in tree.nodes]
    known = any(not math.isnan(verdict.acc) for _, verdict, _ in leaves)
    lengths = [len(node.prefix) for node, _, _ in leaves] or [0]

    def mean(kept: Callable[[Node, Verdict], float | None]) -> Mean:
        """The weighted mean over leaves for which `kept` gives a number."""
        known = [
            (weight, number)
            for node, verdict, weight in leaves
            if (number := kept(node, verdict)) is not None
        ]
        return Mean(sum(weight * number for weight, number in known), sum(weight for weight, _ in known))

    return {
        "reward/mean": over(roots),
        **({"acc/mean": over(right)} if known else {}),
        "len/mean": mean(lambda node, verdict: len(node.prefix)),
        "len/p50": Mean(float(np.quantile(lengths, 0.5))),
        "len/p95": Mean(float(np.quantile(lengths, 0.95))),
        "len/max": Max(max(lengths)),
        "len/correct": mean(lambda node, verdict: len(node.prefix) if verdict.acc == 1 else None),
        "len/wrong": mean(lambda node, verdict: len(node.prefix) if verdict.acc == 0 else None),
        "trunc_rate": mean(lambda node, verdict: float(node.rollout.finish == "length")),
        "stop_rate": mean(lambda node, verdict: float(node.rollout.finish == "stop")),
        "tokens/generated": Sum(sum(node.rollout.num_actions for node in nodes)),
        "tree/nodes": Sum(len(nodes)),
        "tree/leaves": Sum(len(leaves)),
        "tree/early_leaves": Sum(sum(node.depth < levels for node, _, _ in leaves)),
        "tree/silent": Mean(sum(root is not None and root.std == 0 for root in roots), len(roots)),
        "tree/standard_error": Mean(sum(root.error for root in roots if root is not None), len(roots)),
    }


def over(roots: Sequence[Estimate | None]) -> Mean:
    known = [root.value for root in roots if root is not None and root.count]
    return Mean(sum(known), len(known))


def leaves_of(trees: Sequence[Tree]) -> Iterator[tuple[Node, Verdict, float]]:
    """Graded leaves with their weights."""
    for tree in trees:
        for node, verdict, weight in zip(tree.nodes, tree.verdicts, tree.weights(), strict=True):
            if node.leaf and not math.isnan(verdict.score):
                yield node, verdict, weight
