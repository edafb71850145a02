"""Law 3: learner and sampler tell the same log-probs on the same weights: mean 1e-6, max 1e-4 in fp32."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import KINDS, prompt, tiny_model, tiny_tokenizer
from menon.batch import Batch, pack
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.types import Graded, Request, Rollout, Sampling, Verdict
from menon.update.optimiser import Optimiser
from scripted import written_by

V = 40


def sampled(sampler: TorchSampler, sampling: Sampling) -> Batch:
    rng = np.random.default_rng(0)
    prompts = [
        prompt(i, rng.integers(0, V - 1, size=size), vocab=V) for i, size in enumerate((3, 30, 12, 1, 7))
    ]
    asked = [Request(p, sampling, sample=k) for p in prompts for k in range(8)]
    rollouts = (Rollout.of(c, group=c.request.prompt.index) for c in written_by(sampler, asked))
    batch = pack([Graded(rollout, Verdict(score=1.0, acc=1.0)) for rollout in rollouts])
    assert batch.num_tokens > 600
    return batch


def assert_agree(batch: Batch, scorer: TorchScorer) -> None:
    scored = scorer.score(batch, ("logp", "entropy"))
    assert batch.behaviour_logp is not None
    assert batch.entropy is not None
    for own, other in ((batch.behaviour_logp, scored["logp"]), (batch.entropy, scored["entropy"])):
        difference = (own - other)[batch.is_action].abs()
        assert float(difference.mean()) < 1e-6
        assert float(difference.max()) < 1e-4
    assert (batch.behaviour_logp[~batch.is_action] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sampling",
    [Sampling(40), Sampling(40, temperature=0.7), Sampling(40, temperature=1.3, top_p=0.9, top_k=12)],
    ids=str,
)
def test_same_module(kind, sampling):
    model = tiny_model(kind, vocab=V)
    sampler = TorchSampler(model, tiny_tokenizer(V), slots=7)
    assert_agree(
        sampled(sampler, sampling),
        TorchScorer(model, temperature=sampling.temperature, tokens_per_forward=500),
    )


def test_greedy_is_scored_at_temperature_1():
    model = tiny_model(vocab=V)
    assert_agree(
        sampled(TorchSampler(model, tiny_tokenizer(V)), Sampling(40, temperature=0.0)), TorchScorer(model)
    )


@pytest.mark.parametrize("kind", [ByReference, ByCopy])
def test_after_learning_and_publishing(kind):
    """The bound holds for the new weights, and the old sampler's numbers are far from it: staleness would be
    seen."""
    model = tiny_model(vocab=V)
    learner = TorchLearner(model, Optimiser(learning_rate=0.01))
    own = model if kind is ByReference else tiny_model(vocab=V, seed=9)
    sampler = TorchSampler(own, tiny_tokenizer(V))
    channel = kind(learner, sampler)
    channel.publish(1)
    stale = sampled(sampler, Sampling(40))
    assert_agree(stale, learner)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    channel.publish(2)
    assert_agree(sampled(sampler, Sampling(40)), learner)
    with pytest.raises(AssertionError):
        assert_agree(stale, learner)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sampling", [Sampling(40, top_k=12), Sampling(40, 1.3, top_p=0.9, top_k=200)], ids=str
)
def test_under_exact_truncation(kind, sampling):
    """Over the tokens that were kept, the learner has the log-probs of the draw: 1e-5 in fp32."""
    model = tiny_model(kind, vocab=V)
    sampler = TorchSampler(model, tiny_tokenizer(V), slots=7, kept=sampling.top_k)
    batch = sampled(sampler, sampling)
    assert batch.kept is not None
    assert batch.log_kept is not None
    scorer = TorchScorer(model, temperature=sampling.temperature, tokens_per_forward=500)
    assert_agree(batch, scorer)
    exact, raw = (scorer.score(b, ("logp",))["logp"] for b in (batch, replace(batch, kept=None)))
    assert float((exact - batch.behaviour_logp)[batch.is_action].abs().max()) < 1e-5
    assert torch.allclose(raw - batch.log_kept, exact, atol=1e-5)
    assert float((raw - exact).abs().max()) > 0.05
    sizes = (batch.kept >= 0).sum(-1)[batch.is_action]
    assert int(sizes.max()) <= sampling.top_k
    assert (batch.kept == batch.token[:, None]).any(-1)[batch.is_action & (batch.log_kept < 0)].all()
