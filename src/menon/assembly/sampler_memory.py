"""How much memory the sampler of a run takes, by what holds it, before anything runs."""

from typing import Any

import torch

from menon.assembly.engine_samplers import DTYPES, cache_bytes
from menon.engine_settings import VLLM, Engine
from menon.engines.machine import free_bytes
from menon.engines.piece_files import PIECE

VLLM_LIBRARIES = 7 * 2**27
"""Bytes of vLLM's process besides weights, keys and values: 0.77 GiB with the built-in base, 0.85 to 0.89
with a model of 135 M weights (benchmarks/results/sync.md)."""


def of_vllm(engine: Engine, parameters: int, largest: int) -> dict[str, int]:
    """vLLM's process, and the files by which weights get there. Of a server only these files: it is not the
    run's. `largest` is the number of weights of the largest tensor. Keys and values are as many as
    `sampler.cache_gib` says, or as the free memory of this moment would give."""
    setting = engine.sampler
    assert isinstance(setting, VLLM)
    each = DTYPES.get(engine.dtype, torch.float32).itemsize
    weights = each * parameters
    files = min(weights, PIECE + max(PIECE, each * largest)) if setting.weights == "changed" else weights
    found: dict[str, Any] = {
        "weights on the way": files * (setting.weights in ("changed", "file", "adapter"))
    }
    if not setting.python:
        return found
    device = torch.device("cpu" if engine.device == "auto" and not torch.cuda.is_available() else "cuda")
    device = device if engine.device == "auto" else torch.device(engine.device)
    return {
        "vLLM's weights": weights,
        "vLLM's cache": cache_bytes(setting, free_bytes(device), weights),
        "vLLM's libraries": VLLM_LIBRARIES,
        **found,
    }
