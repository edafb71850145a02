"""The loss of a reward model on preferences (Bradley and Terry; arXiv 2203.02155)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, sigmoid
from torch.nn.functional import logsigmoid

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.loss.pairs import ahead, of_pairs, on_pairs, pair_metrics
from menon.types import Deviation, Mean, Metric, Unit
from menon.update.protocols import Head, Need, need_column

SCORE = Head("reward", "after")
"""The score of a text: the output of the head named "reward" on the state after it."""


@dataclass(frozen=True)
class BradleyTerry:
    """l = -log sigmoid(s_w - s_l - margin) + centring (s_w + s_l)^2.

    s is the score of an answer: the head's output on the state after its last action token. Scores that
    differ by a constant have the same first term; `centring` (arXiv 2312.09244, equation 2) keeps them near
    0. One number per pair, on the last action token of the preferred answer; aggregation `PairMean`, with
    each="prompt" where prompts have several pairs. In pairs/accuracy a tie counts .5; scores that are
    calibrated have the accuracy that they expect, pairs/expected_accuracy = mean of sigmoid(|s_w - s_l|).
    """

    margin: float = 0.0
    """Score by which the preferred answer must be ahead."""
    centring: float = 0.0
    """Coefficient of the squared sum of both scores; .01 in TRL."""
    kind: Literal["bradley_terry"] = "bradley_terry"
    unit: ClassVar[Unit] = "pair"
    per: ClassVar[Unit] = "pair"
    needs: ClassVar[tuple[Need, ...]] = (SCORE,)
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.margin < 0 or self.centring < 0:
            raise UserError(
                f"margin {self.margin} and centring {self.centring} of BradleyTerry must be 0 or more"
            )

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        preferred, other = scores(now, batch)
        loss_P = -logsigmoid(ahead(preferred, other) - self.margin)
        return on_pairs(loss_P + self.centring * (preferred + other).square(), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        preferred, other = scores(now, batch)
        expected = sigmoid(ahead(preferred, other).abs())
        found = pair_metrics(preferred, other, now, batch)
        wide = preferred.double()
        return found | {
            "pairs/expected_accuracy": Mean(expected.sum(), len(expected)),
            "pairs/chosen_deviation": Deviation(wide.sum(), wide.square().sum(), len(wide)),
        }


def scores(now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    """[P] scores of the preferred answers, and [P] of the others."""
    return of_pairs(scores_of(now, batch), batch)


def scores_of(now: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """[S] the score of each answer."""
    return now[need_column(SCORE)][ragged.last(batch.trained, batch.offset)]
