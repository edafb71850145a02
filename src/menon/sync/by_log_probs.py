"""The channel to a sampler that cannot show its weights: they are carried there, and proved by what it says
of a few answers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from menon.rollout.protocols import Sampler
from menon.sync.fingerprint import content, fingerprint_of
from menon.sync.protocols import Gives, Published
from menon.sync.to_engine import Carries
from menon.types import Completion, Request

Score = Callable[[Sequence[Completion]], Sequence[np.ndarray[Any, Any]]]
"""Answers -> [T] the trainer's log-probs of each."""


class ByLogProbs:
    """After each publication the sampler answers the same requests again. RuntimeError if its log-probs and
    the trainer's, of the same tokens, differ by more than `bound` nats: then other weights answer, or a cache
    of old ones. The fingerprint is that of the policy's weights as they were sent."""

    def __init__(
        self,
        policy: Gives,
        sampler: Sampler,
        carrier: Carries,
        requests: Sequence[Request],
        score: Score,
        bound: float,
    ) -> None:
        self.policy, self.sampler, self.carrier = policy, sampler, carrier
        self.requests, self.score, self.bound = requests, score, bound

    @torch.no_grad()
    def publish(self, version: int) -> Published:
        sent = {}

        def given() -> Any:
            for name, weight in self.policy.tensors():
                sent[name] = content(weight)
                yield name, weight

        self.carrier.carry(given())
        self.sampler.version = version
        with self.sampler.open() as stream:
            stream.ask(list(self.requests))
            written = list(stream)
        pairs = zip(self.score(written), written, strict=True)
        apart = max(float(np.abs(wanted - answer.logp).max(initial=0)) for wanted, answer in pairs)
        if not apart <= self.bound:
            raise RuntimeError(
                f"after publication {version} log-probs of sampler and learner differ by {apart:.2g} nats on "
                f"the same tokens, and at most {self.bound:g} is rounding: other weights answer"
            )
        return Published(version, fingerprint_of(sent))
