from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.in_process import InProcessHost
from menon.errors import UserError
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.sync.fingerprint import fingerprint
from menon.sync.no_sampler import NoSampler
from menon.sync.pairs import model_tensors
from menon.sync.protocols import Published
from menon.types import Request, Sampling
from scripted import written_by

V = 40


@dataclass
class Weights:
    """The part of a learner or sampler that a channel sees."""

    named: dict[str, Tensor]
    version: int = 0
    gives: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def weights(self) -> Mapping[str, Tensor]:
        return self.named

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return model_tensors(self.named)

    def open(self, keep: bool = False) -> Any:
        raise NotImplementedError


def learner_of(model: nn.Module) -> Any:
    return Weights(dict(model.named_parameters()))


def sampler_of(model: Any) -> TorchSampler:
    return TorchSampler(model, tiny_tokenizer(V), seed=0)


def greedy(sampler: TorchSampler) -> list[int]:
    request = Request(prompt(0, [1, 2, 3], vocab=V), Sampling(max_new_tokens=12, temperature=0.0))
    return written_by(sampler, [request])[0].tokens.tolist()


def other_weights(model: nn.Module, seed: int = 5) -> None:
    with torch.no_grad():
        for own, new in zip(model.parameters(), tiny_model(seed=seed, vocab=V).parameters(), strict=True):
            own.copy_(new)


def test_by_reference_the_sampler_writes_with_what_the_learner_learned():
    model = tiny_model(vocab=V)
    learner, sampler = learner_of(model), sampler_of(model)
    channel = ByReference(learner, sampler)
    first = channel.publish(1)
    assert (first, sampler.version) == (Published(1, fingerprint(learner.weights())), 1)
    assert channel.publish(2) == Published(2, first.fingerprint)
    old = greedy(sampler)
    other_weights(model)
    assert channel.publish(7).fingerprint != first.fingerprint
    assert sampler.version == 7
    assert greedy(sampler) == greedy(sampler_of(tiny_model(seed=5, vocab=V))) != old


def test_by_reference_refuses_equal_numbers_in_another_place():
    learner, sampler = learner_of(tiny_model(vocab=V)), sampler_of(tiny_model(vocab=V))
    with pytest.raises(UserError, match=r"its own copy of 'model\.embed_tokens\.weight'.* publish by copy"):
        ByReference(learner, sampler).publish(1)
    assert sampler.version == 0


def test_a_critic_on_the_learners_trunk_stays_at_home():
    model = tiny_model(vocab=V)
    learner, sampler = learner_of(model), sampler_of(model)
    plain = ByReference(learner, sampler).publish(1)
    learner.named["value_head.weight"] = torch.randn(1, 16)
    assert ByReference(learner, sampler).publish(1) == plain
    assert ByCopy(learner, sampler_of(tiny_model(seed=1, vocab=V))).publish(1) == plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_by_copy_the_sampler_gets_the_learners_weights_in_its_own_dtype(dtype):
    model = tiny_model(vocab=V, seed=3)
    learner, sampler = learner_of(model), sampler_of(tiny_model(vocab=V, dtype=dtype))
    channel = ByCopy(learner, sampler)
    version, found = astuple(channel.publish(1))
    assert sampler.version == version == 1
    assert found == fingerprint({name: weight.to(dtype) for name, weight in learner.weights().items()})
    assert all(weight.dtype == dtype for weight in sampler.weights().values())
    assert greedy(sampler) == greedy(sampler_of(tiny_model(vocab=V, seed=3, dtype=dtype)))
    other_weights(model)  # nothing moves until it is published
    assert fingerprint(sampler.weights()) == found
    assert channel.publish(2).fingerprint != found


def test_by_copy_is_loud_when_the_sampler_holds_something_else():
    """Here two of the sampler's names share a tensor and the learner's two differ: one of them must be
    stale."""
    shared = torch.zeros(3)
    sampler: Any = Weights({"a": shared, "b": shared})
    learner: Any = Weights({"a": torch.ones(3), "b": torch.full((3,), 2.0)})
    with pytest.raises(
        RuntimeError, match=r"the sampler holds other weights \([0-9a-f]{32}\) than the learner"
    ):
        ByCopy(learner, sampler).publish(1)
    assert sampler.version == 0


@pytest.mark.parametrize("channel", [ByReference, ByCopy])
def test_other_models_are_refused(channel):
    tied, untied = tiny_model(vocab=V), tiny_model(vocab=V, tied=False)
    with pytest.raises(UserError, match=r"the learner holds 'lm_head\.weight', which the sampler lacks"):
        channel(learner_of(untied), sampler_of(tied)).publish(1)
    with pytest.raises(UserError, match=r"the sampler holds 'lm_head\.weight', which the learner lacks"):
        channel(learner_of(tied), sampler_of(untied)).publish(1)
    with pytest.raises(UserError, match=r"has shape \(41, 16\) in the learner and \(40, 16\) in the sampler"):
        channel(learner_of(tiny_model(vocab=V + 1)), sampler_of(tied)).publish(1)

    class Remote:
        version = 0

        def open(self, keep: bool = False) -> Any:
            raise NotImplementedError

    with pytest.raises(UserError, match=r"Remote does not show its weights"):
        channel(learner_of(tied), Remote()).publish(1)


def test_without_a_sampler_the_weights_go_nowhere():
    """The version is the one that was given, the fingerprint that of the weights now."""
    model = tiny_model(vocab=V)
    learner = learner_of(model)
    channel = NoSampler(InProcessHost({"policy": learner}))
    assert channel.publish(4) == Published(4, fingerprint(learner.weights()))
    other_weights(model)
    assert channel.publish(5) == Published(
        5, fingerprint(dict(tiny_model(seed=5, vocab=V).named_parameters()))
    )
