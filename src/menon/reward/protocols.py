"""The seam between an answer and its numbers."""

from typing import Any, Protocol


class Reward(Protocol):
    """One answer in, one number out: a float, a bool, a `Verdict`, or a dict with `score`, perhaps `acc`, and parts by name.

    `columns` are the row's other columns, `question` as it stood in the file among them, and two of Menon's own: `finish`
    ("stop" or "length") and `completion_ids` (the answer's tokens). A name that a function does not take is not passed.
    """

    def __call__(self, prompt: str, completion: str, answer: str, **columns: Any) -> Any: ...
