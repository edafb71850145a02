"""The models of the tests of ranks: the same small ones in this process and in parts."""

import copy
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from batches import VOCAB
from helpers import tiny_model, tiny_tokenizer
from menon.engines import adapter_files, lora
from menon.engines.fsdp2 import ShardedLearner, ShardedScorer, Sharding, whole
from menon.engines.hf_models import export
from menon.engines.in_process import InProcessHost
from menon.engines.network import ValueModel, value_head
from menon.engines.rank_group import RankGroup
from menon.engines.rank_host import RankHost
from menon.engines.rank_process import RankHandler, Seat
from menon.engines.rank_workers import RankWorkers, launch_of
from menon.engines.ranked_host import RankedHost
from menon.engines.sharded_export import export_sharded
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.processes.forkserver import Forkserver
from menon.update.adapter import Adapter
from menon.update.optimiser import Optimiser

HIDDEN = 16


@dataclass(frozen=True)
class Models:
    """Which models, in plain data."""

    kind: str = "qwen3"
    dtype: str = "float32"
    tokens_per_forward: int = 60
    checkpointing: bool = False
    tied: bool = True
    head: bool = True
    """A value head and a reward head on the policy."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    adapter: int = 0
    """The rank of an adapter of the policy, which shares its frozen weights with the reference; 0: none."""


def roles(
    models: Models, scorer: Callable[..., Any] = TorchScorer, learner: Callable[..., Any] = TorchLearner
) -> tuple[dict[str, Any], Any]:
    """The models by role, and the policy's own model."""
    dtype = getattr(torch, models.dtype)

    def model(seed: int) -> Any:
        made = tiny_model(models.kind, seed, VOCAB, dtype, hidden=HIDDEN, tied=models.tied)
        return made

    def head(seed: int) -> torch.nn.Linear:
        return value_head(HIDDEN, "orz", seed).to(dtype)

    how: dict[str, Any] = {
        "tokens_per_forward": models.tokens_per_forward,
        "checkpointing": models.checkpointing,
    }
    trained = model(0)
    heads = {"value": head(0), "reward": head(2)} if models.head else {}
    frozen = copy.deepcopy(model(2)).requires_grad_(False)
    if models.adapter:
        lora.attach(trained, Adapter(rank=models.adapter), 0, "the model")
        with torch.no_grad():
            for layer in lora.layers(trained).values():
                layer.lora_B[lora.NAME].weight.fill_(0.02)
        frozen = lora.base_of(trained)
    found = {
        "policy": learner(trained, models.optimiser, temperature=0.8, heads=heads, **how),
        "critic": learner(ValueModel(model(1).base_model, head(1)), models.optimiser, **how),
        "reference": scorer(frozen, temperature=0.8, **how),
        "teacher": scorer(model(3).requires_grad_(False), temperature=0.8, **how),
    }
    return found, trained


def host_here(models: Models) -> InProcessHost:
    found, trained = roles(models)
    if models.adapter:
        return InProcessHost(found, {}, partial(adapter_files.write, trained, "base"))
    return InProcessHost(found, {"policy": partial(export, trained, tiny_tokenizer(VOCAB))})


@cache
def launch() -> Forkserver:
    made = launch_of("rank_models:handler", [], Seat(0, 1, "cpu", 1))
    assert isinstance(made, Forkserver)
    return made


def host_on(ranks: int, models: Models) -> RankedHost:
    workers = RankWorkers(launch(), [Seat(rank, ranks, "cpu", 1) for rank in range(ranks)], shared=True)
    return RankedHost(workers, frozenset(workers.start(pickle.dumps(models))))


@cache
def shared_host(ranks: int, models: Models = Models()) -> RankedHost:
    """One set of ranks for all tests of a process: a start takes seconds. Tests load what they begin with."""
    return host_on(ranks, models)


# In a rank


def copied(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors that are handed out one at a time."""
    return {name: tensor.clone() for name, tensor in tensors}


def handler() -> RankHandler:
    return RankHandler(made)


def made(group: RankGroup, models: Models) -> tuple[RankHost, list[str]]:
    sharding = Sharding(group)
    found, trained = roles(models, partial(ShardedScorer, sharding), partial(ShardedLearner, sharding))

    def write(folder: Path, writes: bool) -> None:
        if models.adapter:
            adapter_files.write(trained, "base", folder, whole=whole, writes=writes)
        else:
            export_sharded(trained, tiny_tokenizer(VOCAB), folder, writes)

    return RankHost(group, found, {"policy": write}), sorted(found)
