"""The models of a run on ranks: processes that each hold a part of every model."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.models import Kinds, model_name, roles_of, saved_dtypes, start_of
from menon.assembly.site import Site
from menon.config import Control, Models, Objective
from menon.engine_settings import Engine, OnRay
from menon.engines import lora
from menon.engines.adapter_files import fingerprint_of_base, write
from menon.engines.fsdp2 import ShardedLearner, ShardedScorer, Sharding, whole
from menon.engines.model_files import FileDtypes
from menon.engines.rank_group import RankGroup, cores, device_of_ranks
from menon.engines.rank_host import Export, RankHost
from menon.engines.rank_process import RankHandler, Seat
from menon.engines.rank_workers import RankWorkers, launch_of
from menon.engines.ranked_host import RankedHost
from menon.engines.reward_model import reward_model_of
from menon.engines.sharded_export import check_file_names, export_sharded
from menon.user_code import load_object

ENTRY = "menon.assembly.ranks:handler"


@dataclass(frozen=True)
class Build:
    """What every rank makes its models of."""

    models: Models
    objective: Objective
    engine: Engine
    temperature: float
    seed: int
    save_dtype: str


def host_on_ranks(
    models: Models,
    objective: Objective,
    engine: Engine,
    temperature: float,
    control: Control,
    own_code: Sequence[str],
    notify: Callable[[str], None] = lambda sentence: None,
    site: Site | None = None,
) -> RankedHost:
    """Starts `engine.ranks` processes with the models of a run. `own_code` are the names of the user's own
    parts, which each of them imports. Without a `site` they are children of this process. UserError: this
    machine cannot hold so many; `notify` hears where they are more than the cores."""
    size = engine.ranks
    device = device_of_ranks(engine.device, size, not isinstance(engine.placement, OnRay))
    if device == "cpu" and size > cores():
        notify(f"ranks={size} share {cores()} cores, so they wait for each other; fewer would be faster")
    threads = max(1, torch.get_num_threads() // size)
    seats = [Seat(rank, size, device, threads) for rank in range(size)]
    launches = None if site is None else site.rank_launches(ENTRY, list(own_code))
    supervisor = None if site is None else site.supervisor
    launch = launch_of(ENTRY, [list(own_code)], seats[0]) if launches is None else launches
    workers = RankWorkers(launch, seats, supervisor=supervisor)
    build = Build(models, objective, engine, temperature, control.seed, control.save_dtype)
    try:
        roles = workers.start(pickle.dumps(build))
    except BaseException:
        workers.close()
        raise
    return RankedHost(workers, frozenset(roles))


# In a rank


def handler(own_code: Sequence[str]) -> RankHandler:
    """The entry of a rank's process. What ranks import is imported here, once for all of them."""
    import_module("transformers.models.qwen3.modeling_qwen3")
    for reference in own_code:
        load_object(reference)  # so that what the controller sends can name it
    return RankHandler(made)


def made(group: RankGroup, build: Build) -> tuple[Any, list[str]]:
    """This rank's part of the models, and their roles. They are read and taken apart on the CPU; only parts
    reach a GPU."""
    engine = replace(build.engine, device="cpu")
    model, tokenizer, _ = start_of(build.models, engine, build.seed)
    name = build.models.policy.model
    adapter = lora.has_adapter(model)
    base_weights = fingerprint_of_base(model) if adapter else ""
    if not adapter:
        check_file_names(model, model_name(name))
    saved_as = saved_dtypes(build.save_dtype, name, model, engine.dtype, lambda sentence: None)
    sharding = Sharding(group, build.engine.offload)
    kinds = Kinds(partial(ShardedScorer, sharding), partial(ShardedLearner, sharding))
    placed, heads = roles_of(
        build.models, build.objective, engine, build.temperature, build.seed, model, tokenizer, kinds
    )
    give: Export = partial(export_sharded, model, tokenizer, dtypes=saved_as)
    if adapter:
        give = partial(write_alone, model, tokenizer, base_weights, saved_as)
    elif "reward" in heads:
        classifier = reward_model_of(model, heads["reward"], tokenizer.pad_token_id)
        give = partial(export_sharded, classifier, tokenizer)
    return RankHost(group, placed, {"policy": give}), sorted(placed)


def write_alone(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    base_weights: str,
    saved_as: FileDtypes,
    folder: Path,
    writes: bool,
) -> None:
    """An adapter without its model; `menon export` merges it."""
    write(model, base_weights, folder, saved_as, whole, writes)
    if writes:
        tokenizer.save_pretrained(folder)
