"""What a scheduler is writing, token by token, for those who do not wait for whole completions."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from menon.engines.decoding.scheduler import Scheduler
from menon.types import Request


@dataclass(frozen=True)
class Newest:
    """A token that was just written."""

    request: Request
    token: int
    logp: float
    """Its log-prob at the sampling temperature."""
    entropy: float
    """In nats, at that temperature."""
    others: list[int]
    """The most probable tokens, the most probable one first; as many as the scheduler records."""
    others_logp: list[float]


def newest(scheduler: Scheduler) -> list[Newest]:
    """The token that the last step wrote for each sequence that was live in it, finished or not."""
    rows, found = scheduler.rows, []
    for row in range(rows.n):
        at = int(rows.count[row]) - 1
        logp, _, entropy = rows.numbers[row, at].tolist()
        others = rows.others[row, at].tolist(), rows.others_logp[row, at].tolist()
        found.append(Newest(rows.request[row], int(rows.tokens[row, at]), logp, entropy, *others))
    return found


def drop(scheduler: Scheduler, requests: Collection[Request]) -> None:
    """Ends these requests, live or queued, without a completion. To be called between two steps."""
    unwanted = {id(request) for request in requests}
    scheduler.queue.drop(unwanted)
    live = scheduler.rows.request[: scheduler.rows.n]
    rows = [row for row, request in enumerate(live) if id(request) in unwanted]
    scheduler.done = np.union1d(scheduler.done, rows).astype(np.int64)
