"""The replay buffer of a tree's edges: which edges are trained in this step, and which wait for a later one
(SPO-tree, arXiv 2505.23564)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from menon.errors import UserError, at_least
from menon.streams import stream
from menon.types import Estimate, Graded, Prompt, Rollout, Verdict

State = Mapping[str, Any]
"""`step`, the steps so far; `edges`, those that wait, each as `frozen` gives it with the step that wrote
it."""
Visit = tuple[int, int]
"""A prompt's index and the number of the visit to it."""


@dataclass(frozen=True)
class Replay:
    """At most `per_question` edges of a question are trained in a step, drawn at random from all its
    untrained edges, those of earlier visits included; the others wait. An edge that was written `max_age`
    steps ago is dropped. An edge is trained once.

    `per_step` bounds the edges of a step, newer ones first; 0: no bound. The behaviour log-probs stay with an
    edge, so a loss can compare with the policy that wrote it.
    """

    per_question: int = 32
    max_age: int = 8
    per_step: int = 0

    def __post_init__(self) -> None:
        at_least(1, "per_question", self.per_question)
        at_least(1, "max_age", self.max_age)
        if self.per_step < 0:
            raise UserError(f"per_step is {self.per_step}; it must be at least 1, or 0 for no bound")

    def init(self) -> State:
        return {"step": 0, "edges": []}

    def choose(self, fresh: Sequence[Graded], state: State, seed: int) -> tuple[list[Graded], State, int]:
        """The edges that are trained now, each with its age, the next state, and how many edges were dropped
        for their age."""
        step = state["step"] + 1
        waiting = [thawed(edge, step) for edge in state["edges"]]
        kept = [edge for edge in waiting if edge.age < self.max_age]
        taken: list[Graded] = []
        left: list[Graded] = []
        for edges in by_question([*fresh, *kept]):
            order = stream(seed, "replay", step, edges[0].rollout.prompt.index).permutation(len(edges))
            taken += [edges[i] for i in order[: self.per_question]]
            left += [edges[i] for i in sorted(order[self.per_question :])]
        if self.per_step and len(taken) > self.per_step:
            order = stream(seed, "replay", step).permutation(len(taken))
            ranked = sorted((taken[i] for i in order), key=lambda edge: edge.age)
            taken, left = ranked[: self.per_step], left + ranked[self.per_step :]
        stays = [frozen(edge, step) for edge in left if edge.age + 1 < self.max_age]
        gone = len(waiting) - len(kept) + len(left) - len(stays)
        return taken, {"step": step, "edges": stays}, gone


def by_question(edges: Sequence[Graded]) -> list[list[Graded]]:
    groups: dict[int, list[Graded]] = {}
    for edge in edges:
        groups.setdefault(edge.rollout.prompt.index, []).append(edge)
    return list(groups.values())


PER_TOKEN = ("tokens", "is_action", "logp", "log_kept", "entropy", "version")
PLAIN = ("finish", "text", "group", "sample", "visit", "node", "parent", "depth")


def frozen(edge: Graded, step: int) -> dict[str, Any]:
    """An edge as plain data that a checkpoint can hold; `step` is the present step."""
    rollout, prompt = edge.rollout, edge.rollout.prompt
    return {
        "written": step - edge.age,
        "score": edge.verdict.score,
        "prompt": {
            "index": prompt.index,
            "tokens": prompt.tokens,
            "text": prompt.text,
            "answer": prompt.answer,
        },
        "states": {place: (state.value, state.std, state.count) for place, state in rollout.states.items()},
        **{name: getattr(rollout, name) for name in (*PER_TOKEN, "kept", *PLAIN)},
    }


def thawed(edge: Mapping[str, Any], step: int) -> Graded:
    """The inverse of `frozen`, some steps later. Its raw correctness is left out, because it was counted when
    the edge was written."""
    states = {int(place): Estimate(*state) for place, state in edge["states"].items()}
    given = {name: edge[name] for name in (*PER_TOKEN, *PLAIN)}
    given["kept"] = edge.get("kept")  # checkpoints of earlier versions have none
    rollout = Rollout(prompt=Prompt(**edge["prompt"]), states=states, **given)
    return Graded(rollout, Verdict(edge["score"], np.nan), age=step - edge["written"])


def regrouped(edges: Sequence[Graded], first: int) -> list[Graded]:
    """Edges of earlier steps with group numbers from `first` on, one for each visit."""
    numbers: dict[Visit, int] = {}
    for edge in edges:
        numbers.setdefault(visit_of(edge), first + len(numbers))
    return [replace(edge, rollout=replace(edge.rollout, group=numbers[visit_of(edge)])) for edge in edges]


def visit_of(edge: Graded) -> Visit:
    return edge.rollout.prompt.index, edge.rollout.visit
