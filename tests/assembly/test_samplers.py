from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from helpers import prompt, tiny_model, tiny_tokenizer, without_kernels
from menon.assembly.rollout_memory import at_once, check_memory
from menon.assembly.samplers import sampler_of
from menon.assembly.site import Site
from menon.config import RunConfig, around_of, changed
from menon.engines import machine
from menon.engines.decoding import torch_sampler
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.errors import UserError
from menon.recipes import recipe
from menon.recipes.grpo import grpo
from menon.types import Request, Sampling
from scripted import written_by


def config(**changes) -> RunConfig:
    sizes = {"prompts_per_step": 4, "samples_per_prompt": 4, "max_new_tokens": 30}
    return changed(grpo(), {**sizes, **changes})


def sampler_for(made: RunConfig, model: PreTrainedModel, notify: Callable[[str], None]) -> Any:
    return sampler_of(
        made.source, made.engine, made.control, model, tiny_tokenizer(), notify, Site(made.engine, 0)
    )


def test_the_configs_settings_reach_the_sampler():
    told: list[str] = []
    model = tiny_model()
    made = config(slots=7, fixed_slots=True, seed=3)
    sampler = sampler_of(
        made.source, made.engine, made.control, model, tiny_tokenizer(), told.append, Site(made.engine, 0)
    )
    assert sampler.model is model
    assert (sampler.slots, sampler.fixed_slots, sampler.seed, told) == (7, True, 3, [])


def test_a_machine_without_bfloat16_works(monkeypatch):
    monkeypatch.setattr(machine, "has_bf16", lambda device: False)
    told: list[str] = []
    model = tiny_model()
    made = config(dtype="bfloat16")
    sampler = sampler_of(
        made.source, made.engine, made.control, model, tiny_tokenizer(), told.append, Site(made.engine, 0)
    )
    assert told == []
    assert sampler.model is not model
    assert {w.dtype for w in sampler.weights().values()} == {torch.bfloat16}
    # The copy's rotary frequencies stay as they were: in bf16 far positions would be wrong.
    assert torch.equal(sampler.model.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq)
    (completion,) = written_by(sampler, [Request(prompt(0, "1+1="), Sampling(max_new_tokens=3))])
    assert np.isfinite(completion.logp).all()


def test_bytes_of_keys_and_values(monkeypatch):
    """2 layers of 2 heads of 4 numbers, keys and values, of the weights' dtype; for a larger model of the
    short path in fp32."""

    def sampler(kind="qwen3", dtype=torch.float32):
        return TorchSampler(tiny_model(kind, hidden=16).to(dtype), tiny_tokenizer())

    assert sampler().bytes_per_token() == 2 * 2 * 2 * 4 * 4
    assert sampler(dtype=torch.bfloat16).bytes_per_token() == 2 * 2 * 2 * 4 * 2
    assert sampler("gpt2").bytes_per_token() == 2 * 2 * 16 * 4
    assert sampler("gpt2", torch.bfloat16).bytes_per_token() == 2 * 2 * 16 * 2
    without_kernels(monkeypatch)
    assert sampler(dtype=torch.bfloat16).bytes_per_token() == 2 * 2 * 2 * 4 * 4


def most(config):
    return at_once(config.source.rollout, around_of(config.source, config.control.seed), config.engine.slots)


def test_how_many_answers_are_written_at_a_time():
    assert most(changed(recipe("grpo"), {"prompts_per_step": 3, "samples_per_prompt": 4, "slots": 256})) == 12
    assert most(changed(recipe("grpo"), {"prompts_per_step": 3, "samples_per_prompt": 4, "slots": 7})) == 7
    assert (
        most(changed(recipe("spo_tree"), {"prompts_per_step": 2, "branching": "2-3-4", "slots": 256})) == 48
    )
    assert most(changed(recipe("spo_chain"), {"prompts_per_step": 1, "slots": 256})) == 256


def test_a_cache_larger_than_memory_makes_fewer_slots(monkeypatch):
    """A token of this model has keys and values of 2 layers x 2 heads x 4 numbers x 4 bytes x 2 = 128
    bytes."""
    sampler = TorchSampler(tiny_model(), tiny_tokenizer(), slots=16)
    asked = [Request(prompt(i, "12345678"), Sampling(max_new_tokens=32)) for i in range(16)]
    want = {c.request.prompt.index: c.tokens.tolist() for c in written_by(sampler, asked)}
    small = TorchSampler(tiny_model(), tiny_tokenizer(), slots=16)
    monkeypatch.setattr(
        torch_sampler, "free_bytes", lambda device: int(128 * 40 * 1.5 * 5)
    )  # five of 40 tokens, and to grow
    assert small.fitting(40) == 5
    assert {c.request.prompt.index: c.tokens.tolist() for c in written_by(small, asked)} == want
    told: list[str] = []
    around = replace(around_of(config().source, 0), notify=told.append)
    bare = TorchSampler(tiny_model(), tiny_tokenizer())
    check_memory(config().source.rollout, around, [prompt(0, "1234567890")], bare)
    assert told == [
        "free memory holds 5 answers of up to 40 tokens, so as many and not 16 are written at a time"
    ]
    monkeypatch.setattr(torch_sampler, "free_bytes", lambda device: 5000)
    with pytest.raises(UserError, match=r"one sequence of 40 tokens take .* are free; lower max_new_tokens"):
        written_by(TorchSampler(tiny_model(), tiny_tokenizer()), asked)
