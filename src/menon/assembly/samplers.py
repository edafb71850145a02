"""The sampler of a run."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.config import RunConfig
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.machine import has_bf16, workers
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.sync.protocols import WeightChannel


def sampler_of(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    notify: Callable[[str], None],
) -> tuple[TorchSampler, WeightChannel]:
    """By reference where sampler and learner have one dtype, else on a copy."""
    settings: dict[str, Any] = {
        "seed": config.seed,
        "slots": config.slots,
        "fixed_slots": config.fixed_slots,
        "processes": workers(model.num_parameters(), model.device),
    }
    if config.dtype != "bfloat16":
        return TorchSampler(model, tokenizer, **settings), ByReference()
    if not has_bf16(model.device):
        notify(
            f"this {model.device.type} has no bfloat16 instructions and emulates them slowly; "
            "dtype=float32 is faster here"
        )
    return TorchSampler(own_copy(model, torch.bfloat16), tokenizer, **settings), ByCopy()
