"""Samplers of other libraries, in other processes and environments: what is checked before anything starts,
how they are started, and the channels to their weights."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.server_samplers import check_server
from menon.assembly.site import Site
from menon.config import Control, OnlineSource, Policy
from menon.engine_settings import VLLM, Builtin, Engine
from menon.engines import lora, vllm_sampler
from menon.engines.adapter_files import write
from menon.engines.broadcast import Broadcast
from menon.engines.carriers import ByBroadcast, ByFile, ByIpc, ByReload, scratch
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.engine_sampler import EngineSampler
from menon.engines.hf_models import end_token_ids
from menon.engines.limits import rows_of
from menon.engines.machine import free_bytes
from menon.engines.rank_group import loopback_only
from menon.engines.vllm_sampler import VLLMSampler
from menon.errors import UserError
from menon.sync.by_adapter import ByAdapter
from menon.sync.fingerprint import content
from menon.sync.protocols import WeightChannel
from menon.sync.to_engine import Carries, ToEngine

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MOST_CACHE = 2**33
"""Bytes of keys and values that an engine gets where no setting says it."""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Sizes of the room that vLLM makes for adapters."""
FROZEN = "model.safetensors"
"""The file with the weights that an adapter leaves as they are."""
ON_CPU = {"block_size": 32, "enable_chunked_prefill": False}
"""Arguments on a CPU. vLLM's own block of the prefix cache has 128 tokens there: more than many prompts here,
which then would share nothing. A prompt that is read in pieces ends vLLM where answers have seeds, because it
turns their random numbers back, and those of a CPU cannot be."""


def check_before(source: OnlineSource, engine: Engine) -> None:
    """UserError, before any model is read, for a sampler that cannot be used, or not with these settings."""
    setting = engine.sampler
    if isinstance(setting, Builtin):
        return
    name = f"sampler={setting.kind}"
    if engine.fixed_slots:
        raise UserError(f"fixed_slots=true needs the built-in sampler; leave it out, or leave {name} out")
    if engine.dtype not in DTYPES:
        raise UserError(
            f"{name} computes in float32 or bfloat16, and dtype is {engine.dtype}; set dtype=float32"
        )
    if source.top_p < 1 or source.top_k > 0:
        raise UserError(vllm_sampler.truncated(setting.kind, source.top_p, source.top_k))
    if isinstance(setting, VLLM):
        vllm_sampler.check_arguments(setting.arguments)
        check_weights(setting, engine)
        if setting.python:
            vllm_sampler.check_environment(setting.python, setting.arguments)
            return
    check_server(setting)


def check_adapter(setting: VLLM, source: OnlineSource, policy: Policy, ranks: int) -> None:
    """UserError where the weights are to be those of an adapter and the run cannot give it alone."""
    if setting.weights != "adapter":
        return
    said = "sampler.weights=adapter with {} cannot work, because {}; leave {} out, or sampler.weights"
    if policy.adapter is None:
        raise UserError("sampler.weights=adapter needs an adapter; set adapter.rank=8, or leave it out")
    if policy.head != "none":
        raise UserError(said.format(f"head={policy.head}", "such a policy is written whole", "head"))
    if ranks > 1:
        raise UserError(said.format(f"ranks={ranks}", "ranks hand out merged weights", "ranks"))
    if source.staleness:
        why = "an answer that is being written keeps the adapter that it began with"
        raise UserError(said.format(f"staleness={source.staleness}", why, "staleness"))


def check_weights(setting: VLLM, engine: Engine) -> None:
    """UserError for a way of the weights that this sampler does not have, or this machine."""
    if setting.server and setting.weights != "changed":
        raise UserError(
            f"sampler.weights={setting.weights} needs an engine that menon starts (sampler.python); a server "
            "gets changed weights by file, so leave it out"
        )
    if setting.weights in ("nccl", "ipc") and engine.ranks > 1:
        raise UserError(
            f"sampler.weights={setting.weights} reads the memory of a GPU, and ranks={engine.ranks} hand out "
            "their weights through that of the host; leave it out"
        )
    if setting.weights in ("nccl", "ipc") and not torch.cuda.is_available():
        raise UserError(
            f"sampler.weights={setting.weights} moves weights between GPUs, and there is none here; set "
            "sampler.weights=broadcast, or leave it out"
        )


def engine_sampler(
    source: OnlineSource,
    engine: Engine,
    control: Control,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    site: Site,
) -> EngineSampler:
    """The sampler of another library, started and ready but without weights: they come with the first
    publication."""
    setting = engine.sampler
    assert isinstance(setting, VLLM)
    cache = check_room(setting, engine, model)
    needed = model.num_parameters() * DTYPES[engine.dtype].itemsize
    temporary = scratch(needed)
    folder = Path(temporary.name)
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if setting.weights == "adapter":
        write_frozen(model, DTYPES[engine.dtype], folder)
    ends = end_token_ids(model, tokenizer)
    embedding: Any = model.get_input_embeddings()
    sampler = VLLMSampler(
        setting.python,
        folder,
        arguments_of(setting, engine, model, cache),
        Detokenizer.of(tokenizer, ends, source.keep_special_tokens),
        ends,
        vocabulary=embedding.num_embeddings,
        context=rows_of(model),
        seed=control.seed,
        environment=environment_of(engine, model.device),
        supervisor=site.supervisor,
    )
    sampler.keep(temporary)
    # Not by `notify`, whose sentences are shown once everything is built.
    print("menon: vLLM starts, which takes up to two minutes, longer the first time", file=sys.stderr)
    try:
        sampler.ready(vllm_sampler.START_LIMIT)
    except BaseException:
        sampler.close()
        raise
    (folder / FROZEN).unlink(missing_ok=True)  # it would take memory until the end of the run
    return sampler


def write_frozen(model: PreTrainedModel, dtype: torch.dtype, folder: Path) -> None:
    """The weights that an adapter leaves as they are, for an engine that reads them at its start."""
    tensors = {name: weight.to(dtype).cpu().contiguous() for name, weight in frozen(model)}
    save_file(tensors, folder / FROZEN, {"format": "pt"})


def frozen(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """(name without the adapter, live tensor) of a model's frozen weights, tied ones once."""
    for name, weight in lora.base_of(model).named_parameters():
        yield name, weight.detach()


def check_room(setting: VLLM, engine: Engine, model: PreTrainedModel) -> int:
    """Bytes for keys and values. UserError if they and the weights do not fit into the free memory."""
    free = free_bytes(model.device)
    weights = model.num_parameters() * DTYPES[engine.dtype].itemsize
    cache = cache_bytes(setting, free, weights)
    if not cache or weights + cache > free:
        raise UserError(
            f"vLLM needs {weights / 2**30:.1f} GiB for weights and {cache / 2**30:.1f} GiB for keys and "
            f"values, and {free / 2**30:.1f} GiB are free; lower sampler.cache_gib, or use a smaller model"
        )
    return cache


def cache_bytes(setting: VLLM, free: int, weights: int) -> int:
    """Bytes for keys and values on a device with so many free ones, beside its weights. It replaces vLLM's
    own choice by `gpu_memory_utilization`."""
    if setting.cache_gib is not None:
        return int(setting.cache_gib * 2**30)
    return min(MOST_CACHE, max(free - weights, 0) // 4)


def arguments_of(setting: VLLM, engine: Engine, model: PreTrainedModel, cache: int) -> dict[str, Any]:
    """The arguments of vLLM's engine."""
    context = rows_of(model)
    broadcast, alone = setting.weights in ("broadcast", "nccl"), setting.weights == "adapter"
    return {
        "dtype": engine.dtype,
        "max_num_seqs": engine.slots,
        "seed": 0,
        "logprobs_mode": "processed_logprobs",  # those at the sampling temperature; the raw ones are at 1
        "skip_tokenizer_init": True,
        "load_format": "auto" if alone else "dummy",
        "use_tqdm_on_load": False,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "kv_cache_memory_bytes": cache,
        "worker_extension_cls": "menon.engines.vllm_worker.WorkerWeights",
        **({} if context is None else {"max_model_len": int(context)}),
        **(ON_CPU if model.device.type == "cpu" else {}),
        **({"weight_transfer_config": {"backend": "menon"}} if broadcast else {}),
        **({"enable_lora": True, "max_loras": 1, "max_lora_rank": room_for(rank_of(model))} if alone else {}),
        **setting.arguments,
    }


def environment_of(engine: Engine, device: torch.device) -> dict[str, str]:
    """The environment variables of vLLM's process."""
    usual = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # our process is the engine's: a step is ours to begin
        "VLLM_NO_USAGE_STATS": "1",
        **loopback_only(),  # its own groups have one process
        # Its warnings are about what is chosen here: our own process, no tokenizer, no Triton on a CPU.
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore"),
    }
    if device.type != "cpu":
        return usual
    threads = str(engine.threads or torch.get_num_threads())
    return {
        **usual,
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }


def rank_of(model: Any) -> int:
    """The rank of a model's adapter."""
    return int(model.peft_config[lora.NAME].r)


def room_for(rank: int) -> int:
    """The smallest of vLLM's sizes for adapters that holds one of this rank. UserError: none does."""
    found = [size for size in LORA_RANKS if size >= rank]
    if not found:
        raise UserError(
            f"vLLM takes adapters of rank {LORA_RANKS[-1]} at most, and adapter.rank is {rank}; lower it, or "
            "leave sampler.weights out"
        )
    return found[0]


def engine_channel(
    engine: Engine, host: Any, model: PreTrainedModel, sampler: EngineSampler
) -> WeightChannel:
    """The channel to a started engine; the first publication has brought it the weights."""
    setting = engine.sampler
    assert isinstance(setting, VLLM)
    assert isinstance(sampler, VLLMSampler)
    channel: WeightChannel
    if setting.weights == "adapter":
        base = {name: content(weight.to(sampler.dtype)) for name, weight in frozen(model)}
        channel = ByAdapter(PolicyAdapter(model), sampler, sampler.folder, base)
    else:
        channel = ToEngine(host, sampler, carrier_of(setting, sampler), setting.weights != "file")
    channel.publish(0)
    return channel


class PolicyAdapter:
    """The adapter of a policy in this process (`sync.by_adapter.GivesAdapter`), in the dtype that learns."""

    def __init__(self, model: Any) -> None:
        self.model, self.rank = model, rank_of(model)
        self.scale = float(next(iter(lora.layers(model).values())).scaling[lora.NAME])

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return lora.adapter_tensors(self.model)

    def write(self, folder: Path) -> None:
        write(self.model, "", folder)


def carrier_of(setting: VLLM, sampler: VLLMSampler) -> Carries:
    if setting.weights in ("broadcast", "nccl"):
        backend = "nccl" if setting.weights == "nccl" else "gloo"
        return ByBroadcast(sampler, Broadcast(1, backend))
    if setting.weights == "ipc":
        return ByIpc(sampler.call)
    if setting.weights == "file":
        return ByReload(sampler.call, sampler.folder)
    return ByFile(sampler.begun, sampler.folder)
