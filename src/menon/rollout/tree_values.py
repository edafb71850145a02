"""Values of the nodes of a tree, from its leaves up (SPO-tree, arXiv 2505.23564, section 4.1)."""

import math
from collections.abc import Sequence

from menon.types import Estimate


def tree_values(parent: Sequence[int], scores: Sequence[float]) -> list[Estimate | None]:
    """[nodes] value of every node, from the leaves to the root: a leaf's is its score, any other's the mean
    of its children's, each of which weighs the same (an early leaf counts as one child).

    Node 0 is the root; `parent[i] < i` for all others. `scores` holds those of the leaves; NaN on inner
    nodes, and on leaves whose grader failed: such a leaf has no value (None) and is not counted. A node
    without any child that has a value gets 0.
    """
    children: list[list[int]] = [[] for _ in parent]
    for node, above in enumerate(parent):
        if node:
            children[above].append(node)
    values: list[Estimate | None] = [None] * len(parent)
    for node in reversed(range(len(parent))):
        if children[node]:
            known = [estimate.value for child in children[node] if (estimate := values[child]) is not None]
            values[node] = Estimate.of(known) if known else Estimate(0.0, 0.0, 0)
        elif not math.isnan(scores[node]):
            values[node] = Estimate(scores[node], 0.0, 1)
    return values
