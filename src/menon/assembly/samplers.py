"""The sampler of a run, and the channel that brings it new weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.engine_samplers import engine_channel, engine_sampler
from menon.assembly.server_samplers import server_channel, server_sampler
from menon.config import Control, OnlineSource
from menon.engine_settings import Builtin, Engine
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.engine_sampler import EngineSampler
from menon.engines.in_process import InProcessHost
from menon.engines.machine import has_bf16, workers
from menon.engines.openai_sampler import OpenAISampler
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.sync.protocols import WeightChannel

RunSampler = EngineSampler | OpenAISampler | TorchSampler
ALTERNATIVES = 8
"""Most probable tokens that `record=full` keeps beside each token that was drawn."""


def sampler_of(
    source: OnlineSource,
    engine: Engine,
    control: Control,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    notify: Callable[[str], None],
) -> RunSampler:
    """The built-in sampler on the learner's own weights where both have one dtype and take turns, else on a
    copy of the weights; or that of another library."""
    if not isinstance(engine.sampler, Builtin):
        made = server_sampler if engine.sampler.server else engine_sampler
        return made(source, engine, control, model, tokenizer, notify)
    settings: dict[str, Any] = {
        "seed": control.seed,
        "slots": engine.slots,
        "fixed_slots": engine.fixed_slots,
        "processes": workers(model.num_parameters(), model.device),
        "alternatives": ALTERNATIVES if control.record == "full" else 0,
        "kept": source.top_k if source.truncation == "exact" else 0,
        "keep_special_tokens": source.keep_special_tokens,
    }
    if engine.dtype != "bfloat16":
        weights = copy.deepcopy(model).requires_grad_(False) if source.ahead else model
        return TorchSampler(weights, tokenizer, **settings)
    if not has_bf16(model.device):
        notify(
            f"this {model.device.type} has no bfloat16 instructions and emulates them slowly; dtype=float32 "
            "is faster here"
        )
    return TorchSampler(own_copy(model, torch.bfloat16), tokenizer, **settings)


def channel_of(
    source: OnlineSource,
    engine: Engine,
    host: InProcessHost,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sampler: RunSampler,
) -> WeightChannel:
    """The channel from the host's policy to the sampler, which holds the policy's weights."""
    if isinstance(sampler, EngineSampler):
        return engine_channel(engine, host, sampler)
    if isinstance(sampler, OpenAISampler):
        return server_channel(engine, host, model, tokenizer, source.temperature, sampler)
    return ByReference(host.models["policy"], sampler) if sampler.model is model else ByCopy(host, sampler)
