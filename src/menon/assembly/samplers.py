"""The sampler of a run, and what its user should know of it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.config import RunConfig
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.machine import has_bf16, workers
from menon.rollout.kinds import SegmentsRollout, TreeRollout
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.sync.protocols import WeightChannel
from menon.types import Prompt


def sampler_of(
    config: RunConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, notify: Callable[[str], None]
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


def tell_of_memory(
    config: RunConfig, sampler: TorchSampler, prompts: Sequence[Prompt], notify: Callable[[str], None]
) -> None:
    """What the caches of a step take, where that is more than there is."""
    longest = max(len(prompt.tokens) for prompt in prompts) + config.max_new_tokens
    if (fits := sampler.fitting(longest)) < (wanted := at_once(config)):
        notify(
            f"free memory holds {fits} answers of up to {longest} tokens, so as many and not {wanted} are "
            "written at a time"
        )


def at_once(config: RunConfig) -> int:
    """Most answers that are written at a time. Fresh ones from all cuts of a step are asked for together, and
    fill the slots."""
    own = config.rollout
    if isinstance(own, SegmentsRollout):
        return config.slots
    width = math.prod(own.branching) if isinstance(own, TreeRollout) else config.samples_per_prompt
    return min(config.slots, config.prompts_per_step * width)
