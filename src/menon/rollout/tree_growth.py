"""Growing trees of continuations."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from menon.errors import UserError
from menon.rollout.answered import Answered
from menon.rollout.groups import judged
from menon.rollout.protocols import Grade, Sampler
from menon.types import Completion, Prompt, Request, Rollout, Sampling, Tokens, Verdict, no_tokens

INNER = Verdict(math.nan, math.nan)

Path = tuple[int, ...]
"""Child numbers from the prompt down."""


@dataclass(frozen=True)
class Node:
    """One continuation; its number is its place in its tree."""

    parent: int
    depth: int
    path: Path
    prefix: Tokens
    """Tokens of the whole answer, the node's own included."""
    rollout: Rollout
    leaf: bool


@dataclass
class Tree:
    """The tree of one visit to one prompt. Node 0 is the prompt itself and has no entry in `nodes`: node n is
    `nodes[n - 1]`."""

    prompt: Prompt
    visit: int
    nodes: list[Node] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    """Verdicts of the leaves; those of inner nodes have no meaning."""

    @property
    def parents(self) -> list[int]:
        return [0, *(node.parent for node in self.nodes)]

    def weights(self) -> list[float]:
        """The weights of the nodes: the root has 1, and each node's weight is divided equally among its
        children."""
        siblings = Counter(node.parent for node in self.nodes)
        weight = [1.0]
        for node in self.nodes:
            weight.append(weight[node.parent] / siblings[node.parent])
        return weight[1:]


@dataclass(frozen=True)
class TreeShape:
    """`branching[d]` children for each unfinished node of depth d. A node above the last level has room for
    `segment_tokens` tokens (one number, or one for each of those levels)."""

    branching: tuple[int, ...] = (6, 6, 6)
    segment_tokens: tuple[int, ...] = (30,)

    def __post_init__(self) -> None:
        if not self.branching or min(self.branching) < 1:
            given = "-".join(map(str, self.branching)) or "empty"
            raise UserError(f"branching is {given}; it takes numbers of children, like 6-6-6")
        levels = len(self.branching) - 1
        if (
            not self.segment_tokens
            or min(self.segment_tokens) < 1
            or len(self.segment_tokens) not in (1, levels)
        ):
            given = "-".join(map(str, self.segment_tokens)) or "empty"
            raise UserError(
                f"segment_tokens is {given}; it takes one number, or one for each of the {levels} levels "
                "above the last"
            )

    @property
    def budgets(self) -> list[int]:
        """Tokens of a node on each level above the last."""
        levels = len(self.branching) - 1
        return (
            list(self.segment_tokens) * levels if len(self.segment_tokens) == 1 else list(self.segment_tokens)
        )

    def check(self, max_new_tokens: int) -> None:
        """UserError if the last level would have no room."""
        if (used := sum(self.budgets)) >= max_new_tokens:
            raise UserError(
                f"the levels above the last take {used} tokens ({'-'.join(map(str, self.budgets))}), and "
                "answers have room for "
                f"{max_new_tokens}; lower segment_tokens, or raise max_new_tokens"
            )

    def most_nodes(self) -> int:
        """The largest number of nodes, without the prompt."""
        return sum(math.prod(self.branching[:depth]) for depth in range(1, len(self.branching) + 1))

    def most_tokens(self, prompt_tokens: int, max_new_tokens: int) -> int:
        """Distinct tokens of a tree in which no answer ends early."""
        nodes, total = 1, prompt_tokens
        for width, room in zip(
            self.branching, [*self.budgets, max_new_tokens - sum(self.budgets)], strict=True
        ):
            nodes *= width
            total += nodes * room
        return total


def grow(
    asked: Sequence[tuple[Prompt, int]], shape: TreeShape, sampling: Sampling, sampler: Sampler, grade: Grade
) -> list[Tree]:
    """Whole trees with the verdicts of their leaves. A node's children are asked as soon as it is finished,
    and go on from what the sampler has computed for it."""
    trees = [Tree(prompt, visit) for prompt, visit in asked]
    finished: list[dict[Path, Completion]] = [{} for _ in trees]
    with sampler.open(keep=True) as stream:
        answers = Answered[tuple[int, Path]](stream)

        def leaves() -> Iterator[tuple[tuple[int, ...], Rollout]]:
            for (group, path), completion in answers:
                finished[group][path] = completion
                if is_leaf(completion, shape):
                    yield (len(path), group, *path), Rollout.of(completion, group)
                else:
                    above = np.concatenate([completion.request.prefix, completion.tokens])
                    answers.ask(children(trees[group], group, path, above, shape, sampling))

        nothing = no_tokens()
        roots = [children(tree, group, (), nothing, shape, sampling) for group, tree in enumerate(trees)]
        answers.ask([child for root in roots for child in root])
        _, verdicts = judged(leaves(), grade)
    for group, tree in enumerate(trees):
        fill(tree, group, finished[group], shape)
        tree.verdicts = [verdicts.get((node.depth, group, *node.path), INNER) for node in tree.nodes]
    return trees


def children(
    tree: Tree, group: int, path: Path, prefix: Tokens, shape: TreeShape, sampling: Sampling
) -> list[tuple[tuple[int, Path], Request]]:
    """Requests for the children of the node with this path and answer so far. Those of the last level may use
    all remaining tokens of the answer."""
    depth = len(path)
    last = depth + 1 == len(shape.branching)
    room = sampling.max_new_tokens - len(prefix) if last else shape.budgets[depth]
    own = replace(sampling, max_new_tokens=room)
    paths = [(*path, child) for child in range(shape.branching[depth])]
    return [
        ((group, path), Request(tree.prompt, own, visit=tree.visit, path=path, prefix=prefix, last=last))
        for path in paths
    ]


def is_leaf(completion: Completion, shape: TreeShape) -> bool:
    """Whether a node is a leaf: it has ended, or is on the last level."""
    return completion.finish != "length" or len(completion.request.path) == len(shape.branching)


def fill(tree: Tree, group: int, finished: Mapping[Path, Completion], shape: TreeShape) -> None:
    """Adds the nodes level by level, each level in the order of the paths, for any order in which they
    finished."""
    number: dict[Path, int] = {(): 0}
    for path in sorted(finished, key=lambda path: (len(path), path)):
        completion, parent = finished[path], number[path[:-1]]
        number[path] = len(number)
        rollout = replace(Rollout.of(completion, group, number[path], parent), depth=len(path))
        leaf = is_leaf(completion, shape)
        tree.nodes.append(Node(parent, len(path), path, rollout.answer_tokens, rollout, leaf))
