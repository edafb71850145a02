"""The sampler of a run, and the channel that brings it new weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.engine_samplers import engine_channel, engine_sampler
from menon.assembly.server_samplers import server_channel, server_sampler
from menon.assembly.site import Site
from menon.config import Control, OnlineSource
from menon.engine_settings import Builtin, Engine
from menon.engines import lora
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.engine_sampler import EngineSampler
from menon.engines.in_process import InProcessHost
from menon.engines.machine import workers
from menon.engines.openai_sampler import OpenAISampler
from menon.engines.ranked_host import RankedHost
from menon.engines.remote_sampler import ENTRY, RemoteSampler
from menon.engines.taking_turns import TakesTurns
from menon.sync.by_copy import ByCopy
from menon.sync.by_message import ByMessage
from menon.sync.by_reference import ByReference
from menon.sync.protocols import WeightChannel

RunSampler = EngineSampler | OpenAISampler | RemoteSampler | TorchSampler
ALTERNATIVES = 8
"""Most probable tokens that `record=full` keeps beside each token that was drawn."""


def sampler_of(
    source: OnlineSource,
    engine: Engine,
    control: Control,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    notify: Callable[[str], None],
    site: Site,
) -> RunSampler:
    """That of another library; a built-in one in processes of its own where the run asks for them; otherwise
    the built-in one in this process, on the learner's own weights where both have one dtype and take turns,
    else on a copy of the weights; with an adapter on a merged copy, of which only what the adapter changes
    takes memory again."""
    if not isinstance(engine.sampler, Builtin):
        what = source, engine, control, model, tokenizer
        return server_sampler(*what) if engine.sampler.server else engine_sampler(*what, site)
    each = site.threads(site.samplers)
    # Beside a learner that is at work more processes would only take the cores from it, and they cannot be
    # asked to end in the middle of an answer.
    beside = source.staleness > 0 or site.samplers > 1
    settings: dict[str, Any] = {
        "seed": control.seed,
        "slots": engine.slots,
        "fixed_slots": engine.fixed_slots,
        "processes": 1 if beside else workers(lora.num_parameters(model), model.device),
        "alternatives": ALTERNATIVES if control.record == "full" else 0,
        "kept": source.top_k if source.truncation == "exact" else 0,
        "keep_special_tokens": source.keep_special_tokens,
    }
    adapted = lora.has_adapter(model)
    if site.samplers:
        dtype = torch.bfloat16 if engine.dtype == "bfloat16" else None
        settings |= {"dtype": dtype, "threads": each, "supervisor": site.supervisor}
        launches = site.sampler_launches(ENTRY)
        whole = lora.merged_copy(model) if adapted else model
        return RemoteSampler(whole, tokenizer, launches, device=str(model.device), **settings)
    if engine.dtype != "bfloat16":
        if adapted:
            model = lora.merged_copy(model)
        elif source.staleness:
            model = copy.deepcopy(model).requires_grad_(False)
        return TorchSampler(model, tokenizer, **settings)
    narrow = lora.merged_copy if adapted else own_copy
    return TorchSampler(narrow(model, torch.bfloat16), tokenizer, **settings)


def channel_of(
    source: OnlineSource,
    engine: Engine,
    host: InProcessHost | RankedHost | TakesTurns,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sampler: RunSampler,
) -> WeightChannel:
    """The channel from the host's policy to the sampler, which holds the policy's weights. By reference where
    the sampler writes with the learner's own tensors."""
    if isinstance(sampler, EngineSampler):
        return engine_channel(engine, host, model, sampler)
    if isinstance(sampler, OpenAISampler):
        return server_channel(engine, host, model, tokenizer, source.temperature, sampler)
    if isinstance(sampler, RemoteSampler):
        channel = ByMessage(host, sampler)
        channel.publish(sampler.version)  # its processes have no weights yet
        return channel
    if isinstance(host, InProcessHost) and sampler.model is model:
        return ByReference(host.models["policy"], sampler)
    return ByCopy(host, sampler)
