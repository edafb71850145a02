"""Growing trees of continuations, level by level."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from menon.errors import UserError
from menon.rollout.groups import judged, written
from menon.rollout.protocols import Grade, Sampler, holding
from menon.types import Completion, Prompt, Request, Rollout, Sampling, Tokens, Verdict, no_tokens

INNER = Verdict(math.nan, math.nan)


@dataclass(frozen=True)
class Node:
    """One continuation; its number is its place in its tree."""

    parent: int
    depth: int
    path: tuple[int, ...]
    prefix: Tokens
    """Of the whole answer, the node's own tokens included."""
    rollout: Rollout
    leaf: bool


@dataclass
class Tree:
    """Of one visit to one prompt. Node 0 is the prompt itself and has no entry in `nodes`: node n is `nodes[n
    - 1]`."""

    prompt: Prompt
    visit: int
    nodes: list[Node] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    """Of the leaves; inner nodes have none that says anything."""

    @property
    def parents(self) -> list[int]:
        return [0, *(node.parent for node in self.nodes)]

    def weights(self) -> list[float]:
        """Of the nodes: the root's 1 is shared equally among children, and so on."""
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
        """UserError where the last level would have no room."""
        if (used := sum(self.budgets)) >= max_new_tokens:
            raise UserError(
                f"the levels above the last take {used} tokens ({'-'.join(map(str, self.budgets))}), and "
                "answers have room for "
                f"{max_new_tokens}; lower segment_tokens, or raise max_new_tokens"
            )

    def most_nodes(self) -> int:
        """Without the prompt."""
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
    """Whole trees with the verdicts of their leaves. Each level is written for all trees at once, from what
    the sampler has computed for the level above."""
    trees = [Tree(prompt, visit) for prompt, visit in asked]
    open_nodes = [(group, 0) for group in range(len(trees))]
    with holding(sampler):
        for depth, width in enumerate(shape.branching, 1):
            last = depth == len(shape.branching)
            places = [(group, parent, child) for group, parent in open_nodes for child in range(width)]
            room = None if last else shape.budgets[depth - 1]
            requests = [
                request_of(trees[group], parent, child, sampling, room) for group, parent, child in places
            ]
            open_nodes = level(trees, places, requests, last, sampler, grade)
    return trees


def request_of(tree: Tree, parent: int, child: int, sampling: Sampling, room: int | None) -> Request:
    """One child of a node; without `room` it may use what the whole answer has left."""
    above = tree.nodes[parent - 1] if parent else None
    prefix, path = (no_tokens(), ()) if above is None else (above.prefix, above.path)
    left = sampling.max_new_tokens - len(prefix)
    own = replace(sampling, max_new_tokens=left if room is None else room)
    return Request(tree.prompt, own, visit=tree.visit, path=(*path, child), prefix=prefix, last=room is None)


def level(
    trees: list[Tree],
    places: Sequence[tuple[int, int, int]],
    requests: Sequence[Request],
    last: bool,
    sampler: Sampler,
    grade: Grade,
) -> list[tuple[int, int]]:
    """Writes one level, its leaves graded, and adds it to the trees in the order of the requests; gives the
    nodes that go on."""
    numbers: list[int] = []
    count = [len(tree.nodes) for tree in trees]
    for group, _, _ in places:
        count[group] += 1
        numbers.append(count[group])
    found: dict[int, Node] = {}

    def leaves() -> Iterator[tuple[int, Rollout]]:
        for place, completion in written(requests, sampler):
            group, parent, _ = places[place]
            found[place] = node_of(completion, group, numbers[place], parent, last)
            if found[place].leaf:
                yield place, found[place].rollout

    _, verdicts = judged(leaves(), grade)
    for place, (group, _, _) in enumerate(places):
        trees[group].nodes.append(found[place])
        trees[group].verdicts.append(verdicts.get(place, INNER))
    return [(places[place][0], numbers[place]) for place in range(len(places)) if not found[place].leaf]


def node_of(completion: Completion, group: int, number: int, parent: int, last: bool) -> Node:
    request = completion.request
    rollout = replace(Rollout.of(completion, group, number, parent), depth=len(request.path))
    return Node(
        parent,
        len(request.path),
        request.path,
        rollout.answer_tokens,
        rollout,
        last or completion.finish != "length",
    )
