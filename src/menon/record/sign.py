"""What a sign is: one cause for which a run learns nothing, or not what it should."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "failed",
    "graders",
    "apart",
    "stale",
    "ratio",
    "not_finite",
    "skipped",
    "learning_rate",
    "empty",
    "no_gradient",
    "not_applicable",
    "reversed",
    "prompt_holds_answer",
    "foreign",
    "exploited",
    "by_heart",
    "short",
    "explosion",
    "collapse",
    "repetition",
    "flat",
    "long",
    "lost",
    "endless",
    "cut",
    "blank",
    "unread",
    "same_text",
    "all_right",
    "constant",
    "all_wrong",
    "equal_groups",
    "few_groups",
    "clipped",
    "memory",
]
"""The nearer to the cause, the earlier: faults of the program and the reward, then what the policy became,
then what its answers show."""
RANK: dict[str, int] = {kind: place for place, kind in enumerate(get_args(Kind))}


@dataclass(frozen=True)
class Sign:
    """One cause for which a run learns nothing, no longer, or not what it should."""

    kind: Kind
    evidence: str
    """The cause with its number."""
    setting: str
    """What to change."""

    @property
    def sentence(self) -> str:
        return f"{self.evidence}; {self.setting}"
