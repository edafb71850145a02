"""A penalty on repeated n-grams."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menon.errors import UserError
from menon.types import Verdict


@dataclass(frozen=True)
class Repetition:
    """A penalty on repeated n-grams of tokens: -most * (1 - distinct / all) (docs/numerics.md, 13.6). 0 for
    an answer of fewer than n tokens.

    >>> Repetition(n=2)("", "", "", completion_ids=[1, 2, 1, 2, 1]).score  # 12 21 12 21: 2 of 4 are distinct
    -0.5
    """

    n: int = 20
    """Tokens of an n-gram."""
    most: float = 1.0
    """The penalty of an answer that is one n-gram throughout."""
    kind: Literal["repetition"] = "repetition"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserError(f"n of repetition is {self.n}; an n-gram has at least one token")

    def __call__(
        self,
        prompt: str,
        completion: str,
        answer: str = "",
        completion_ids: Sequence[int] = (),
        **columns: object,
    ) -> Verdict:
        ids = tuple(completion_ids)
        grams = [ids[place : place + self.n] for place in range(len(ids) - self.n + 1)]
        share = 1 - len(set(grams)) / len(grams) if grams else 0.0
        return Verdict(-self.most * share, float("nan"))
