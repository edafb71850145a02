"""Trees of continuations (SPO-tree, arXiv 2505.23564, section 4.1): values from the leaves up, edges to train
on."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from menon.errors import at_least
from menon.rollout.protocols import Grade, Prompts, Sampler
from menon.rollout.replay import Replay, State, regrouped
from menon.rollout.segments import finished_only
from menon.rollout.tree_growth import Node, Tree, TreeShape, grow
from menon.types import Estimate, Graded, Max, Mean, Metric, Sampling, Sum, Verdict

TreeValues = Callable[[Sequence[int], Sequence[float]], list[Estimate | None]]
"""Parents and scores of the nodes -> their values (`advantage.segment.tree_values`)."""
SAME = 1e-9
"""Values that differ by less than rounding teach nothing."""


@dataclass(frozen=True)
class Trees:
    """A tree of the given shape for every prompt. A node above the last level that has used its room is
    continued; one that ends before is a leaf early. Nodes of the last level run to their end, within
    `sampling.max_new_tokens` for the whole answer; where that cuts one it scores 0.

    Every node is one sequence: prompt and prefix are given, its own tokens are actions, so each token carries
    loss once. All nodes are in the record; those are learned from whose value differs from their parent's, as
    far as `replay` lets them, and edges of earlier steps that were left waiting.
    """

    prompts_per_step: int
    sampling: Sampling
    values: TreeValues
    shape: TreeShape = field(default_factory=TreeShape)
    replay: Replay = field(default_factory=Replay)
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, "prompts_per_step", self.prompts_per_step)
        self.shape.check(self.sampling.max_new_tokens)

    def init(self) -> State:
        return self.replay.init()

    def __call__(
        self, prompts: Prompts, sampler: Sampler, grade: Grade, state: State
    ) -> tuple[list[Graded], dict[str, Metric], State]:
        """Nodes level by level within each tree, trees in the order of the prompts; behind them edges of
        earlier steps."""
        trees = grow(
            prompts.take(self.prompts_per_step), self.shape, self.sampling, sampler, finished_only(grade)
        )
        found = [self.estimates(tree, "score") for tree in trees]
        edges = [
            edge for tree, estimates in zip(trees, found, strict=True) for edge in tree_edges(tree, estimates)
        ]
        chosen, state, dropped = self.replay.choose([edge for edge in edges if edge.learn], state, self.seed)
        now = {(edge.rollout.group, edge.rollout.node) for edge in chosen if not edge.age}
        fresh = [replace(edge, learn=(edge.rollout.group, edge.rollout.node) in now) for edge in edges]
        old = regrouped([edge for edge in chosen if edge.age], len(trees))
        right = [self.estimates(tree, "acc")[0] for tree in trees]
        metrics = metrics_of(
            trees, [estimates[0] for estimates in found], right, len(self.shape.branching)
        ) | {
            "tree/edges": Sum(sum(edge.learn for edge in edges)),
            "replay/fresh": Sum(len(now)),
            "replay/old": Sum(len(old)),
            "replay/waiting": Sum(len(state["edges"])),
            "replay/dropped": Sum(dropped),
        }
        return [*fresh, *old], metrics, state

    def estimates(self, tree: Tree, of: Literal["score", "acc"]) -> list[Estimate | None]:
        """Of every node, the prompt first."""
        return self.values(tree.parents, [math.nan, *(getattr(verdict, of) for verdict in tree.verdicts)])


def tree_edges(tree: Tree, found: Sequence[Estimate | None]) -> list[Graded]:
    """Every node as a sequence: it starts in its parent's value, and its score is its own. `learn` says that
    the two differ; a node that the sampler gave up before its first token starts nowhere and teaches
    nothing."""
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
    """Of whole answers, weighed by the tree: what the policy would score and how long its answers would be,
    without the bias that nodes which end early have fewer leaves. `roots` and `right` are score and
    correctness of the prompts' nodes."""
    leaves = list(leaves_of(trees))
    nodes = [node for tree in trees for node in tree.nodes]
    lengths = [len(node.prefix) for node, _, _ in leaves] or [0]

    def mean(kept: Callable[[Node, Verdict], float | None]) -> Mean:
        """Over leaves for which there is a number."""
        known = [
            (weight, number)
            for node, verdict, weight in leaves
            if (number := kept(node, verdict)) is not None
        ]
        return Mean(sum(weight * number for weight, number in known), sum(weight for weight, _ in known))

    return {
        "reward/mean": over(roots),
        "acc/mean": over(right),
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
