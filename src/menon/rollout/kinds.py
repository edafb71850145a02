"""What a configuration file can name as rollout; `assembly.build` makes the collectors of them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator


@dataclass(frozen=True)
class GroupsRollout:
    """A group of answers to each prompt."""

    kind: Literal["groups"] = "groups"


@dataclass(frozen=True)
class DynamicRollout:
    """Groups that teach nothing are dropped, and other prompts asked in their place:
    `rollout.dynamic.DynamicSampling`."""

    lo: float = 0.0
    hi: float = 1.0
    prompts_per_round: int = 0
    max_rounds: int = 10
    min_groups: int = 1
    kind: Literal["dynamic_sampling"] = "dynamic_sampling"


@dataclass(frozen=True)
class GreedyRollout:
    """Groups, and one greedy answer per prompt as their baseline: `rollout.greedy.GreedyBaseline`."""

    kind: Literal["greedy_baseline"] = "greedy_baseline"


@dataclass(frozen=True)
class SegmentsRollout:
    """Groups of answers, cut into segments that begin with a sampled value: `rollout.segments.Segments`.

    `partition`: "cutpoints" by `interval` and `threshold`, "tokens" by `segment_tokens`, "parts" by `parts`,
    "lines".
    """

    partition: Literal["cutpoints", "tokens", "parts", "lines"] = "cutpoints"
    interval: int = 5
    threshold: float = 0.9
    segment_tokens: int = 30
    parts: int = 4
    value_samples: int = 9
    max_values: int = 0
    kind: Literal["segments"] = "segments"


def dashed(value: Any) -> Any:
    """Numbers in a row as people write a tree's shape: "6-6-6" is [6, 6, 6], and a number alone is a list of
    one."""
    if isinstance(value, str) and all(part.isdecimal() for part in value.split("-")):
        return [int(part) for part in value.split("-")]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Dashed = Annotated[tuple[int, ...], BeforeValidator(dashed)]


@dataclass(frozen=True)
class TreeRollout:
    """A tree of continuations for each prompt, and the edges of earlier trees that still wait:
    `rollout.trees.Trees`."""

    branching: Dashed = (6, 6, 6)
    segment_tokens: Dashed = (30,)
    edges_per_question: int = 32
    edges_per_step: int = 0
    max_age: int = 8
    kind: Literal["tree"] = "tree"


RolloutPart = GroupsRollout | DynamicRollout | GreedyRollout | SegmentsRollout | TreeRollout
