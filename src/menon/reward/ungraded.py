"""Answers that nothing judges: a teacher, or given text, says what is learned."""

from dataclasses import dataclass
from typing import Any, Literal

from menon.types import Verdict


@dataclass(frozen=True)
class Ungraded:
    """0 for every answer, right or wrong: not known. Rows then need no gold answer. It is for runs that learn
    from a teacher."""

    kind: Literal["ungraded"] = "ungraded"

    def __call__(self, prompt: str, completion: str, answer: str | None, **columns: Any) -> Verdict:
        return Verdict(0.0, float("nan"))
