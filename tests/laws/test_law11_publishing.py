"""Law 11: a publish changes nothing that it should not.

With a learning rate of 0 any number of publishes leaves texts, log-probs and fingerprints of both ends as
they were; with a positive one the sampler answers with the new weights, and with no cache of the old.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.batch import Batch, pack
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.in_process import InProcessHost
from menon.engines.torch_learner import TorchLearner
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.rollout.protocols import Stream
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.types import Completion, Graded, Request, Rollout, Sampling, Verdict
from menon.update.objective import prepare
from menon.update.optimiser import Optimiser
from menon.update.terms import MiniBatch, Term, Update
from scripted import answered, written_by

V = 40
UPDATE = Update({"policy": Term(PolicyGradient(), TokenMean())})


@dataclass
class Ends:
    host: InProcessHost
    sampler: TorchSampler
    channel: Any

    def written(self, stream: Stream | None = None) -> list[Completion]:
        """Of prompts that share beginnings, so that caches have something to share; on an open stream, or on
        one of its own."""
        asked = [
            Request(prompt(i, [1, 2, 3, *[4 + i] * i], vocab=V), Sampling(12, temperature=t), sample=k)
            for i in range(3)
            for k, t in enumerate((1.0, 0.7, 0.0))
        ]
        found = answered(stream, asked) if stream else written_by(self.sampler, asked)
        return sorted(found, key=lambda c: (c.request.prompt.index, c.request.sample))

    def learn(self) -> Batch:
        """One update on what is written now; advantages that pull one way."""
        rollouts = [Rollout.of(c, group=c.request.prompt.index) for c in self.written()]
        batch = pack([Graded(rollout, Verdict(1.0, 1.0)) for rollout in rollouts])
        batch = replace(batch, advantage=batch.is_action.float())
        part = MiniBatch(UPDATE, torch.arange(batch.num_sequences), first=True)
        self.host.update("policy", prepare(part, batch, self.host))
        return batch


def ends(channel: type, kind: str, learning_rate: float) -> Ends:
    model = tiny_model(kind, vocab=V)
    learner = TorchLearner(model, Optimiser(learning_rate))
    own = model if channel is ByReference else own_copy(model, torch.float32)
    sampler = TorchSampler(own, tiny_tokenizer(V))
    return Ends(InProcessHost({"policy": learner}), sampler, channel(learner, sampler))


def same(one: list[Completion], other: list[Completion]) -> bool:
    return all(
        a.tokens.tolist() == b.tokens.tolist() and np.array_equal(a.logp, b.logp)
        for a, b in zip(one, other, strict=True)
    )


BOTH = pytest.mark.parametrize("channel", [ByReference, ByCopy])
KINDS = pytest.mark.parametrize("kind", ["qwen3", "gpt2"])


@BOTH
@KINDS
def test_without_learning_nothing_changes(channel, kind):
    both = ends(channel, kind, learning_rate=0.0)
    before, fingerprint = both.written(), both.host.fingerprint("policy")
    scored = both.host.models["policy"].score(both.learn(), ("logp",))["logp"]
    for version in range(1, 6):
        batch = both.learn()
        assert torch.equal(both.host.models["policy"].score(batch, ("logp",))["logp"], scored)
        published = both.channel.publish(version)
        both.channel.publish(version)  # and a second one of the same weights
        assert published.fingerprint == both.host.fingerprint("policy") == fingerprint
        assert same(both.written(), before)
    assert both.sampler.version == 5


@BOTH
@KINDS
def test_after_learning_the_sampler_writes_with_the_new_weights_and_no_cache_of_the_old(channel, kind):
    """As a sampler writes that has never seen the old ones."""
    both = ends(channel, kind, learning_rate=0.05)
    before = both.written()
    for version in range(1, 4):
        both.learn()
        published = both.channel.publish(version)
        assert published.fingerprint == both.host.fingerprint("policy")
        fresh = TorchSampler(own_copy(both.host.models["policy"].model, torch.float32), tiny_tokenizer(V))
        now = both.written()
        assert same(now, Ends(both.host, fresh, None).written())
        assert not same(now, before)
        assert {int(each) for c in now for each in c.version} == {version}
        before = now


@BOTH
def test_prefixes_that_are_kept_are_forgotten_with_new_weights(channel):
    both = ends(channel, "qwen3", learning_rate=0.05)
    with both.sampler.open(keep=True) as stream:
        before = both.written(stream)
        assert same(both.written(stream), before)
        both.learn()
        both.channel.publish(1)
        now = both.written(stream)
    fresh = TorchSampler(own_copy(both.host.models["policy"].model, torch.float32), tiny_tokenizer(V))
    assert same(now, Ends(both.host, fresh, None).written())
    assert not same(now, before)
