"""Answers that match a regular expression."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from menon.errors import UserError
from menon.parts import Around
from menon.reward.extract import WAYS, stated
from menon.reward.pool import Broken, Costly, Pool
from menon.thought import after_thinking
from menon.types import Verdict


@dataclass(frozen=True)
class Pattern:
    """The whole stated result matches a regular expression. 1 if it does, else 0; with `whole` it is the
    whole text after the thought.

    `pattern` is for all rows; "" takes each row's gold answer. Matching may take very long, so it runs in a
    worker process with a time limit.
    """

    pattern: str = ""
    """The regular expression for all rows; "": each row's gold answer."""
    whole: bool = False
    """The whole answer has to match, not the stated result."""
    kind: Literal["pattern"] = "pattern"

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise UserError(f"the pattern {self.pattern!r} is no regular expression: {error}") from None

    def build(self, around: Around) -> "Pattern":
        """The rule with a worker process, which starts with the first answer."""
        return replace(self)

    @cached_property
    def pool(self) -> Pool:
        return Pool("menon.reward.pattern:matches", seconds=0.2)

    def __call__(self, prompt: str, completion: str, answer: str, **columns: Any) -> Verdict:
        text = after_thinking(prompt, completion) if self.whole else stated(prompt, completion, WAYS)
        if text is None:
            return Verdict(0.0, 0.0, {"too_costly": 0.0})
        try:
            score = float(self.pool.ask(self.pattern or answer, text.strip()))
        except Costly:
            return Verdict(0.0, 0.0, {"too_costly": 1.0})
        except Broken as error:
            return Verdict(float("nan"), float("nan"), error=f"the pattern cannot be matched: {error}")
        return Verdict(score, score, {"too_costly": 0.0})

    def close(self) -> None:
        self.pool.close()


def matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.DOTALL) is not None
