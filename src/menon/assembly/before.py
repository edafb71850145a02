"""What is checked before a run reads a model or starts a process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from menon.assembly import engine_samplers
from menon.assembly.derived import (
    BYTES,
    GIB,
    ModelSize,
    assumed_length,
    on_cpu,
    parameters_of,
    size_of_model,
)
from menon.assembly.memory import OWN, Needs, Process, processes
from menon.assembly.models import device_of, model_name
from menon.assembly.server_samplers import check_tokenizer
from menon.assembly.site import check_processes
from menon.base import BASES
from menon.columns import check_sampler
from menon.config import OnlineSource, Policy, RunConfig, setup_of
from menon.engine_settings import VLLM, Builtin, Engine, OnRay
from menon.engines import ray_cluster
from menon.engines.hf_models import tokenizer_of
from menon.engines.machine import free_bytes
from menon.engines.rank_group import device_of_ranks
from menon.engines.weight_files import billions
from menon.errors import UserError
from menon.prompts.render import check_length
from menon.rollout.protocols import OPTIONAL
from menon.update.adapter import Adapter

SHRINKS = ("activations", "logits", "keys and values", "weights on the way")
"""What grows with the text of a step, which may be shorter than it could be."""
RANK = 32
"""The rank of the adapter that is proposed where a whole model does not fit."""


def check_before(config: RunConfig, notify: Callable[[str], None]) -> None:
    """UserError for a run with libraries that are not here, a sampler that cannot serve it, or processes that
    this machine has no room for. `notify` hears where it has room only if text stays short."""
    engine = config.engine
    device_of(engine.device)
    if engine.colocated and config.source.staleness:
        raise UserError(
            "with colocated=true samplers and learner take turns; set staleness=0, or leave it out"
        )
    check_processes(engine, config.asks)
    if isinstance(engine.placement, OnRay):
        ray_cluster.check(engine.placement.address, engine.placement.interface)
    if engine.ranks > 1:
        device_of_ranks(engine.device, engine.ranks, not isinstance(engine.placement, OnRay))
    if config.asks:
        check_sampler(setup_of(config), OPTIONAL if isinstance(engine.sampler, Builtin) else frozenset())
        check_other_sampler(config.source, engine, config.models.policy)
    if (model := size_of_model(config.models.policy.model)) is not None:
        wanted = config.source.max_new_tokens
        # What the built-in base has to do with data of the user's is said together with this, later.
        own_data = config.models.policy.model in BASES and config.source.data is not None
        if config.rows is None and wanted is not None and model.context is not None and not own_data:
            check_length(model.context, wanted)
        run = Needs.of(config)
        length = assumed_length(wanted, model)
        check_room(replace(run, source=replace(run.source, max_new_tokens=length)), model, notify)


def check_other_sampler(source: OnlineSource, engine: Engine, policy: Policy) -> None:
    """UserError for the sampler of another library that is not there, or is another model's."""
    setting = engine.sampler
    engine_samplers.check_before(source, engine)
    if isinstance(setting, VLLM):
        engine_samplers.check_adapter(setting, source, policy, engine.ranks)
    if not isinstance(setting, Builtin) and setting.server:
        check_tokenizer(setting, tokenizer_of(model_name(policy.model)))


def check_room(run: Needs, model: ModelSize, notify: Callable[[str], None]) -> None:
    """UserError if what the processes of a run hold in any case does not fit into the memory of this machine,
    or that of its only process into its GPU's. `notify` hears of it where all that they may hold does not
    fit: several processes share the memory, and a single one fits its caches to it, but not its passes."""
    found = on_this_machine(run, processes(run, model))
    alone = len(found) == 1
    if not on_cpu(run.engine) and not alone:
        return  # each GPU has its own, of which its libraries tell
    free = free_bytes(device_of(run.engine.device))
    if (needed := at_least(found)) > free:
        raise UserError(
            f"this run needs at least {gib(needed)} of memory ({in_words(found)}), and {gib(free)} are free "
            f"here; {remedy(run, model, free)}; `menon explain` shows what takes it"
        )
    most = sum((one.size - alone * one.parts.get("keys and values", 0)) * one.count for one in found)
    if most > free and not run.engine.colocated:
        notify(
            f"this run may take {gib(most)} of memory if answers have their full length, and {gib(free)} are "
            "free; lower tokens_per_forward, slots or max_new_tokens if it runs out"
        )


def on_this_machine(run: Needs, found: Sequence[Process]) -> Sequence[Process]:
    """The processes without those that Ray places on hosts of a cluster, whose memory is not known here."""
    place = run.engine.placement
    elsewhere = isinstance(place, OnRay) and not ray_cluster.is_own(place.address)
    return [one for one in found if not (elsewhere and one.name in ("rank", "sampler"))]


def at_least(found: Sequence[Process]) -> float:
    """Bytes that the processes take whatever they write."""
    return sum(one.count * certain(one) for one in found)


def certain(process: Process) -> float:
    """The same of one process; the libraries of this one are there already."""
    own = ("libraries",) if process.name == OWN else ()
    return sum(size for name, size in process.parts.items() if name not in (*SHRINKS, *own))


def in_words(found: Sequence[Process]) -> str:
    return ", ".join(
        f"{gib(certain(one))} for {f'each of {one.count} {one.name}s' if one.count > 1 else one.name}"
        for one in found
    )


def remedy(run: Needs, model: ModelSize, free: float) -> str:
    """What would fit: fewer processes before anything that trains otherwise."""
    for engine, words in smaller(run.engine):
        if needs(replace(run, engine=engine), model) <= free:
            return f"set {words}"
    needed = needs(run, model)
    if 2 * BYTES[run.engine.dtype] * parameters_of(run.models, model) > needed:
        return "take a smaller teacher, or learn from texts that it has written (distill_data)"
    advice = f"a model of at most {billions(free / needed * model.parameters)} weights"
    if run.models.policy.adapter is None:
        policy = replace(run.models.policy, adapter=Adapter(rank=RANK))
        if (size := needs(replace(run, models=replace(run.models, policy=policy)), model)) <= free:
            advice = f"adapter.rank={RANK} ({gib(size)}), or {advice}"
    return f"take {advice}"


def needs(run: Needs, model: ModelSize) -> float:
    """Bytes that a run takes of this machine whatever it writes."""
    return at_least(on_this_machine(run, processes(run, model)))


def smaller(engine: Engine) -> Iterator[tuple[Engine, str]]:
    """The engine with fewer and fewer processes, and the settings that say so."""
    for ranks in range(engine.ranks - 1, 0, -1):
        yield replace(engine, ranks=ranks, offload=engine.offload and ranks > 1), f"ranks={ranks}"
    for samplers in range((engine.samplers or 1) - 1, 0, -1):
        yield replace(engine, samplers=samplers), f"samplers={samplers}"
    if engine.ranks > 1 and engine.samplers:
        yield replace(engine, ranks=1, samplers=1), "ranks=1 samplers=1"
    if isinstance(engine.sampler, VLLM) and engine.sampler.python:
        yield replace(engine, sampler=replace(engine.sampler, cache_gib=0.25)), "sampler.cache_gib=0.25"


def gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
