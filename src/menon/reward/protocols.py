"""The protocols of rewards: from an answer to its score."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from menon.reward.code.signatures import Asked
from menon.types import Verdict


class Reward(Protocol):
    """One answer in, one number out: a float, a bool, a `Verdict`, or a dict with `score`, perhaps `acc`, and
    parts by name.

    `columns` are the row's other columns, with `question` as it is in the file, and two that Menon adds:
    `finish` ("stop" or "length") and `completion_ids` (the answer's tokens). A name that a function does not
    take is not passed.
    """

    def __call__(self, prompt: str, completion: str, answer: str, **columns: Any) -> Any: ...


@runtime_checkable
class BatchReward(Reward, Protocol):
    """A reward that judges many answers in one call, as a model does. It never raises because of a model's
    text."""

    def many(self, asked: Sequence[Asked]) -> Sequence[Verdict]:
        """One verdict for each answer, in their order."""
        ...
