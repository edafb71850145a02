"""Single answers of two kinds: acc 1 for one kind, 0 for the other."""

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import mean_over
from menon.types import Mean, Metric


def check_labels(batch: Batch) -> None:
    """UserError unless every answer that trains is labelled."""
    wrong = (batch.action_lengths > 0) & (batch.acc != 0) & (batch.acc != 1)
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise UserError(
            f"KTO needs acc 1 for a desirable answer and 0 for an undesirable one; answer {row} of the "
            f"update has {float(batch.acc[row]):g}"
        )


def log_odds(batch: Batch) -> Tensor:
    """log(answers with acc 1 / answers with acc 0) of an update. UserError for another label, or none of one
    kind."""
    acc = batch.acc[batch.action_lengths > 0]
    data, noise = int((acc == 1).sum()), int((acc == 0).sum())
    if data + noise < len(acc):
        raise UserError("energy_nce needs acc 1 for an answer of the data and 0 for one of the reference")
    if not data or not noise:
        missing = "the reference (acc 0)" if data else "the data (acc 1)"
        raise UserError(
            f"energy_nce compares answers of two kinds, and an update has none of {missing}; take more "
            "rows to a step, or mix both kinds"
        )
    return torch.tensor(data / noise, dtype=batch.reward.dtype, device=batch.reward.device).log()


def check_weights(desirable: float, undesirable: float) -> None:
    if min(desirable, undesirable) < 0:
        raise UserError(
            f"desirable_weight {desirable} and undesirable_weight {undesirable} of KTO must be 0 or more"
        )


def label_metrics(gain_S: Tensor, z_S: Tensor, beta: float, batch: Batch) -> dict[str, Metric]:
    """KTO's metrics of the answers' q = log pi - log ref [S] and of z [S]."""
    present, good = batch.action_lengths > 0, batch.acc == 1
    right_S = torch.where(gain_S == z_S, 0.5, ((gain_S > z_S) == good).to(gain_S))
    return {
        "pairs/chosen_reward": mean_over(beta * gain_S, present & good),
        "pairs/rejected_reward": mean_over(beta * gain_S, present & ~good),
        "kto/accuracy": mean_over(right_S, present),
        "kto/kl": mean_over(z_S, present),
        "kto/desirable": Mean((present & good).sum(), present.sum()),
    }
