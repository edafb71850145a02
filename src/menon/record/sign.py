"""What a sign is: one cause for which a run learns nothing, or not what it should."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "foreign",
    "cut",
    "blank",
    "unread",
    "same_text",
    "all_right",
    "all_wrong",
    "constant",
    "equal_groups",
    "prompt_holds_answer",
    "reversed",
    "skipped",
    "empty",
    "learning_rate",
    "no_gradient",
    "not_applicable",
    "collapse",
    "explosion",
    "exploited",
    "by_heart",
]


@dataclass(frozen=True)
class Sign:
    """One cause for which a run learns nothing, no longer, or not what it should."""

    kind: Kind
    sentence: str
    """The cause with its number, and what to change."""
