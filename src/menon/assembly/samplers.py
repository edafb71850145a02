"""The sampler of a run."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.config import Control, OnlineSource
from menon.engine_settings import Engine
from menon.engines import lora
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.machine import has_bf16, workers

ALTERNATIVES = 8
"""Most probable tokens that `record=full` keeps beside each token that was drawn."""


def sampler_of(
    source: OnlineSource,
    engine: Engine,
    control: Control,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    notify: Callable[[str], None],
) -> TorchSampler:
    """A sampler on the learner's own weights where both have one dtype and take turns, else on a copy of the
    weights. With an adapter on a merged copy, of which only what the adapter changes takes memory again."""
    settings: dict[str, Any] = {
        "seed": control.seed,
        "slots": engine.slots,
        "fixed_slots": engine.fixed_slots,
        "processes": workers(lora.num_parameters(model), model.device),
        "alternatives": ALTERNATIVES if control.record == "full" else 0,
        "kept": source.top_k if source.truncation == "exact" else 0,
        "keep_special_tokens": source.keep_special_tokens,
    }
    if engine.dtype != "bfloat16":
        if lora.has_adapter(model):
            model = lora.merged_copy(model)
        elif source.ahead:
            model = copy.deepcopy(model).requires_grad_(False)
        return TorchSampler(model, tokenizer, **settings)
    if not has_bf16(model.device):
        notify(
            f"this {model.device.type} has no bfloat16 instructions and emulates them slowly; dtype=float32 "
            "is faster here"
        )
    narrow = lora.merged_copy if lora.has_adapter(model) else own_copy
    return TorchSampler(narrow(model, torch.bfloat16), tokenizer, **settings)
