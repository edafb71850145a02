"""Trajectory balance: the log-ratio of an answer matches its reward (arXiv 2201.13259; with the group's mean
in place of a learned log Z, VarGrad, arXiv 2010.10436)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.loss.groups import group_mean, on_answers, sums_of_log_ratios
from menon.loss.pairs import check_beta
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class TrajectoryBalance:
    """l_i = (beta h_i - r_i + b)^2, h_i = log pi(y_i) - log ref(y_i), b = mean of r - beta h over the group.

    b estimates beta log Z and has no gradient. The loss is 0 for all groups where
    pi = ref exp(r / beta) / Z, whatever policy wrote the answers. On the policy's own answers its gradient is
    2 beta times that of REINFORCE with the group's mean as the baseline and the KL in the reward. A group of
    equal rewards still pulls its log-ratios to one value; a group of one has no gradient. One number per
    answer, on its last action token; aggregation `SequenceMean`.
    """

    beta: float = 0.1
    """Weight of the reference: a reward counts r / beta nats."""
    kind: Literal["trajectory_balance"] = "trajectory_balance"
    unit: ClassVar[Unit] = "group"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp", "reward")
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_beta(self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        ahead_S = batch.outcome - self.beta * sums_of_log_ratios(now, batch, self)
        off_S = ragged.difference(group_mean(ahead_S.detach(), batch), ahead_S, batch.action_lengths > 0)
        return on_answers(off_S.square(), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ahead_S = batch.outcome - self.beta * sums_of_log_ratios(now, batch, self)
        return {"posterior/log_z": mean_over(ahead_S / self.beta, batch.action_lengths > 0)}
