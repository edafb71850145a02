"""What a configuration file can name as rollout; `recipes.build` makes the collectors of them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GroupsRollout:
    """A group of answers to each prompt."""

    kind: Literal["groups"] = "groups"


@dataclass(frozen=True)
class DynamicRollout:
    """Groups that teach nothing are dropped, and other prompts asked in their place: `rollout.dynamic.DynamicSampling`."""

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

    `partition`: "cutpoints" by `interval` and `threshold`, "tokens" by `segment_tokens`, "parts" by `parts`, "lines".
    """

    partition: Literal["cutpoints", "tokens", "parts", "lines"] = "cutpoints"
    interval: int = 5
    threshold: float = 0.9
    segment_tokens: int = 30
    parts: int = 4
    value_samples: int = 9
    max_values: int = 0
    kind: Literal["segments"] = "segments"


RolloutPart = GroupsRollout | DynamicRollout | GreedyRollout | SegmentsRollout
