"""What a run's trainer says of answers that a sampler wrote."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from menon.batch import Batch, pack
from menon.types import Completion, Graded, Rollout, Verdict
from menon.update.host import Ask, ModelHost


def batch_of(completions: Sequence[Completion]) -> Batch:
    """The answers, each a group of its own."""
    rollouts = [Rollout.of(completion, group=place) for place, completion in enumerate(completions)]
    return pack([Graded(rollout, Verdict(1.0, 1.0)) for rollout in rollouts])


def scored(host: ModelHost, completions: Sequence[Completion]) -> list[np.ndarray[Any, Any]]:
    """[T] the policy's log-probs of each answer's tokens, at the run's temperature."""
    batch = batch_of(completions)
    column = host.score(batch, [Ask("policy", "logp")])["logp"].cpu()
    pieces = zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True)
    return [column[a:b][batch.is_action[a:b].cpu()].float().numpy() for a, b in pieces]
