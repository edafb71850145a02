"""A price for each token beyond a free length: one side of L1's length term, LCPO (arXiv 2503.04697)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class LinearLength:
    """R <- R - slope * max(0, L - free), L the policy's own tokens of the answer.

    LCPO subtracts alpha |n - L|, with a length n that the prompt asks for, so short answers are penalised
    too. Here no length is asked for, so only what is beyond `free` tokens costs. The price has no bound,
    unlike that of `Overlong`, and does not depend on the group, unlike that of `LengthReward` (Kimi k1.5):
    right and wrong answers pay alike. Comes before the estimator; raw correctness (`acc`) stays as it is. A
    truncated answer pays for the tokens that it has; empty answers and those whose grader failed stay as they
    are.
    """

    slope: float = 0.001
    """The penalty of each token beyond `free`."""
    free: int = 0
    """Tokens that cost nothing."""
    kind: Literal["linear_length"] = "linear_length"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("reward",)

    def __post_init__(self) -> None:
        if self.slope < 0 or self.free < 0:
            raise UserError(
                f"slope {self.slope} and free {self.free} of LinearLength: both must be 0 or more, as a "
                "negative slope would reward length"
            )

    def __call__(self, batch: Batch) -> Batch:
        last = ragged.last(batch.trained, batch.offset)
        answers = (last >= 0).nonzero()[:, 0]
        beyond = (batch.action_lengths[answers] - self.free).clamp(min=0).to(batch.reward.dtype)
        return replace(batch, reward=batch.reward.index_add(0, last[answers], -self.slope * beyond))
