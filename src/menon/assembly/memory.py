"""How much memory each process of a run takes, by what holds it, before anything runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from menon.assembly.derived import (
    BYTES,
    PROMPT,
    ModelSize,
    is_large,
    most_tokens,
    num_workers,
    on_cpu,
    parameters_of,
    sizes,
)
from menon.assembly.rollout_memory import key_bytes
from menon.assembly.sampler_memory import of_vllm
from menon.config import Models, OnlineSource, RunConfig, around_of
from menon.engine_settings import VLLM, Builtin, Engine, OnRay
from menon.engines import machine
from menon.engines.log_probs import CHUNK
from menon.engines.ray_cluster import is_own
from menon.parts import Around

OWN = "the run's own process"
COPIES = 3
"""How often a chunk of logits exists at once: the logits, their log-softmax, their gradient."""
PARTED = ("weights", "gradients", "optimiser", "reference", "teacher")
"""What ranks hold in parts. Everything else of a rank is whole in each of them."""
LEARNING = ("gradients", "activations", "logits")
"""What is there while a model learns and not while text is written."""
ASIDE = ("weights", "optimiser", "reference", "teacher", *LEARNING)
"""What a learner that takes turns does not hold while text is written."""
LIBRARIES, OTHER_PROCESS = 2**29, 190 * 2**20
"""Bytes of this process before it loads a model, and bytes of a worker sampler before its first answer."""
RANK_LIBRARIES, SAMPLER_LIBRARIES = 2**28, 2**28
"""Bytes of a rank, and of a sampler in a process of its own, besides its tensors. Both share pages with the
process that they are forked from (benchmarks/results/cluster.md)."""
FORKSERVER = 160 * 2**20
"""Bytes of the process that ranks, or samplers, are forked from."""
RAY = 2**29
"""Bytes of the services of Ray that a run starts on its machine."""


@dataclass(frozen=True)
class Needs:
    """What the memory of a run depends on."""

    engine: Engine
    models: Models
    source: OnlineSource
    seed: int
    sequences: int
    """Sequences that a step learns from."""
    asks: bool
    """Whether the policy writes text."""

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        about = config.engine, config.models, config.source, config.control.seed
        return cls(*about, sizes(config).step.sequences, config.asks)

    @property
    def around(self) -> Around:
        return around_of(self.source, self.seed)


@dataclass(frozen=True)
class Process:
    """What one process of a run holds at its peak."""

    name: str
    parts: Mapping[str, float]
    """Bytes, by what holds them."""
    count: int = 1
    """How many processes of this kind there are, each with as much."""

    @property
    def size(self) -> float:
        return sum(self.parts.values())


def processes(run: Needs, shape: ModelSize) -> tuple[Process, ...]:
    """The processes of a run with their bytes: its own, ranks, samplers, vLLM's, and Ray's where the run
    starts them. Not those that grade."""
    engine = run.engine
    found = [Process(OWN, own_process(run, shape))]
    if engine.ranks > 1:
        found.append(Process("rank", rank(run, shape), engine.ranks))
    if run.asks and engine.num_samplers:
        found.append(Process("sampler", sampler_process(run, shape), engine.num_samplers))
    if run.asks and isinstance(engine.sampler, VLLM):
        parts = of_vllm(engine, shape.parameters, shape.vocabulary * shape.hidden)
        found.append(Process("vLLM", present(parts)))
    if isinstance(engine.placement, OnRay):
        return (*found, *[Process("Ray", {"services": RAY})] * is_own(engine.placement.address))
    forked = [one for one in found if one.name == "sampler" or (one.name == "rank" and on_cpu(engine))]
    if forked:
        found.append(Process("forkserver", {"libraries": FORKSERVER}, len(forked)))
    return tuple(found)


def together(run: Needs, found: Sequence[Process]) -> float:
    """The most bytes of all processes at a time. Those of a run with `colocated` take turns."""
    every = sum(one.size * one.count for one in found)
    if not run.engine.colocated:
        return every
    kinds = {one.name: one for one in found}
    learner, sampler = kinds[OWN], kinds["sampler"]
    aside = sum(learner.parts.get(name, 0) for name in ASIDE)
    return every - min(aside, sampler.count * sampler.parts.get("keys and values", 0))


def own_process(run: Needs, shape: ModelSize) -> dict[str, float]:
    """Bytes of the process that the command started. It has the models unless ranks do, and writes unless
    other processes do: then it keeps the weights that it sends to them. Of models that it reads only to hand
    them on, it holds the policy's for a while.

    A large model on a CPU has its sampler's packed copies and caches freed before it learns, so of writing
    and learning the larger counts.
    """
    engine = run.engine
    learns, workers = engine.ranks == 1, num_workers(engine, shape)
    writes = run.asks and isinstance(engine.sampler, Builtin)
    found = learner_parts(run, shape) if learns else {}
    if writes and engine.num_samplers:
        found["weights for samplers"] = narrow(run) * shape.parameters
    elif writes:
        copies = learner_copies(run, shape) if learns else whole_copy(run, shape)
        packed, keys = packed_copies(run, shape, workers), cache(run, shape)
        found |= {"sampler's copies": copies + packed, "keys and values": keys}
        if learns and is_large(engine, shape):
            if sum(found[name] for name in LEARNING) > packed + keys:
                found |= {"sampler's copies": copies, "keys and values": 0}
            else:
                found |= dict.fromkeys(LEARNING, 0)
    found["libraries"] = LIBRARIES + (workers - 1) * OTHER_PROCESS
    read = {"the policy, as it is read": BYTES[engine.dtype] * shape.parameters}
    beside = sum(found.values()) - found["libraries"]
    if not learns and beside < sum(read.values()):
        found = {**read, "libraries": found["libraries"]}
    return present(found)


def rank(run: Needs, shape: ModelSize) -> dict[str, float]:
    """Bytes of each rank. It reads whole models before it takes them apart; on a CPU that is its peak where
    ranks are many."""
    found = learner_parts(run, shape, run.engine.ranks) | {"libraries": RANK_LIBRARIES}
    read = as_read(run, shape)
    if on_cpu(run.engine) and read > sum(found.values()) - RANK_LIBRARIES:
        found = {"whole models, as they are read": read, "libraries": RANK_LIBRARIES}
    return present(found)


def as_read(run: Needs, shape: ModelSize) -> float:
    """Bytes of whole models at the start of a rank: the policy, its teachers, and a copy of the policy for a
    reference or a critic."""
    models = run.models
    alone = models.critic is not None and not models.critic.shared_trunk
    copies = (models.reference == "frozen" or alone) and models.policy.adapter is None
    number = BYTES[run.engine.dtype]
    return number * ((1 + copies) * shape.parameters + parameters_of(models, shape))


def sampler_process(run: Needs, shape: ModelSize) -> dict[str, float]:
    """Bytes of each process that writes text: its own copy of the weights, and its share of the answers."""
    count = run.engine.num_samplers
    workers = num_workers(run.engine, shape) if count == 1 and not run.source.staleness else 1
    return present(
        {
            "weights": narrow(run) * shape.parameters,
            "packed copies": packed_copies(run, shape, workers),
            "keys and values": cache(run, shape, count),
            "libraries": SAMPLER_LIBRARIES + (workers - 1) * OTHER_PROCESS,
        }
    )


def present(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: float(size) for name, size in parts.items() if size}


# Models that learn


@dataclass(frozen=True)
class Held:
    """What the models of a run hold."""

    learned: int
    """Numbers that a learning model trains."""
    weights: int
    """Bytes of the weights of all models that learn."""
    reference: int
    """Bytes of the reference's own weights."""
    copies: int
    """Bytes of weights that only a sampler in the same process has."""


def held_by(models: Models, dtype: str, shape: ModelSize, learning: int, whole: bool = True) -> Held:
    """For `learning` models that train. With an adapter the frozen weights are there once for all of them and
    the reference, their matrices in bfloat16 if that is what computes and they are whole; a sampler in the
    learner's dtype has merged copies of the matrices that the adapter changes."""
    number, adapter = BYTES[dtype], models.policy.adapter
    half = dtype == "bfloat16"
    if adapter is None:
        each = number * shape.parameters
        kept = (models.reference != "none") * each
        return Held(shape.parameters, learning * each, kept, half * 2 * shape.parameters)
    learned = shape.adapter_size(adapter)
    matrices = sum(a * b for _, a, b in shape.linears)
    frozen = number * shape.parameters - (half and whole) * 2 * matrices
    merged = number * sum(a * b for a, b in shape.around(adapter))
    return Held(learned, frozen + learning * number * learned, 0, 2 * shape.parameters if half else merged)


def learner_parts(run: Needs, shape: ModelSize, count: int = 1) -> dict[str, float]:
    """Bytes at the time when the policy learns, in each of `count` processes that share the models.

    Weights, gradient and AdamW's two moments of everything that learns; gradients of the passes that run in
    parallel, and of the one that is being added; the reference. With an adapter only it has gradient and
    moments, and the reference and a critic share the frozen weights. What forward passes of `tokens_at_once`
    keep for their backward pass (8 hidden and 4 intermediate numbers, keys and values a token and layer: a
    Llama block with fused attention); a chunk of logits three times. Passes that run in parallel share
    `tokens_per_forward`, so this does not grow with their number. A large model on a CPU keeps less of a
    token (2 intermediate numbers in fp32, and keys and values of a prompt for several answers) and its logits
    once.

    Ranks hold parts. In each of them is whole, for as long as it is needed: what is outside of the layers,
    its gradient and a copy of that on its way to the other ranks, and the same of one layer. Each makes its
    passes of `tokens_per_forward` tokens of its share of an update, so what passes keep is there in each.
    """
    engine, models, workers = run.engine, run.models, num_workers(run.engine, shape)
    learning = 1 + (models.critic is not None and not models.critic.shared_trunk)
    number, large, held = BYTES[engine.dtype], is_large(engine, shape), held_of(run, shape)
    fewest = min(one.updates_per_step for one in (models.policy, models.critic) if one is not None)
    longest = PROMPT + run.around.sampling.max_new_tokens
    sequences = run.sequences / fewest / count
    tokens = tokens_at_once(most_tokens(engine, shape), sequences, longest)
    passes = (workers > 1) * (workers + 1) if count == 1 else 0
    again = 1 if models.policy.adapter else 3
    whole = again * number * (shape.outside + shape.layer) if count > 1 else 0
    return {
        "weights": held.weights / count,
        "gradients": (learning + passes) * number * held.learned / count,
        "optimiser": learning * 2 * number * held.learned / count,
        "reference": held.reference / count,
        "teacher": number * parameters_of(models, shape) / count,
        "whole layers": whole,
        "activations": bytes_per_token(run, shape) * tokens,
        "logits": (1 if large else COPIES) * 4 * min(CHUNK, tokens * shape.vocabulary),
    }


def held_of(run: Needs, shape: ModelSize) -> Held:
    critic = run.models.critic
    learning = 1 + (critic is not None and not critic.shared_trunk)
    return held_by(run.models, run.engine.dtype, shape, learning, run.engine.ranks == 1)


def bytes_per_token(run: Needs, shape: ModelSize) -> float:
    """What a pass keeps of a token. On a CPU, attention computes in fp32 (`decoder.causal`)."""
    number, own = BYTES[run.engine.dtype], narrow(run)
    large = is_large(run.engine, shape)
    inside = (2 if large and own == 4 else 4) * shape.intermediate
    per_token = shape.layers * (8 * shape.hidden + inside) + (3 if large else 1) * shape.kv
    attention = (number - own) * on_cpu(run.engine) * (2 * shape.layers * shape.hidden + shape.kv)
    return own * per_token + attention


def tokens_at_once(tokens_per_forward: int, sequences: float, longest: int) -> int:
    """Tokens of the forward passes of an update that run at a time, if each of its sequences has `longest`
    tokens: `tokens_per_forward`, or all of the update where it has fewer. A sequence is never cut.

    >>> tokens_at_once(8192, 100, 200), tokens_at_once(8192, 4, 200), tokens_at_once(100, 4, 200)
    (8192, 800, 200)
    """
    return min(max(tokens_per_forward, longest), math.ceil(sequences) * longest)


# The built-in sampler


def narrow(run: Needs) -> int:
    """Bytes of a number as it computes, which is how a sampler with a copy of its own holds its weights."""
    return 2 if run.engine.dtype == "bfloat16" else BYTES[run.engine.dtype]


def learner_copies(run: Needs, shape: ModelSize) -> float:
    """Weights that a sampler has for itself in the learner's process: in another dtype, merged with an
    adapter, or because it writes beside a learner that changes them."""
    copies = held_of(run, shape).copies
    if not copies and run.source.staleness:
        return BYTES[run.engine.dtype] * shape.parameters
    return copies


def whole_copy(run: Needs, shape: ModelSize) -> float:
    """The weights of a sampler in a process without the learner; an adapter's are merged into copies."""
    adapter, size = run.models.policy.adapter, narrow(run) * shape.parameters
    merged = 0 if adapter is None or run.engine.dtype == "bfloat16" else held_of(run, shape).copies
    return size + merged


def packed_copies(run: Needs, shape: ModelSize, workers: int) -> float:
    """Copies of the matrices by which each of `workers` decodes; see `engines.decoding.decode_weights`:
    `is_packed` and `is_copied`."""
    size = narrow(run) * shape.copied
    is_copied = size <= machine.PACKED if on_cpu(run.engine) else shape.copied <= machine.SMALL
    return workers * size * is_copied


def cache(run: Needs, shape: ModelSize, count: int = 1) -> float:
    """Keys and values in each of `count` samplers: of all slots, with answers of full length and prompts of
    `PROMPT` tokens, and of whole trees with the record of their nodes. A cache is kept between steps."""
    number, own = BYTES[run.engine.dtype], narrow(run)
    each = (own if shape.family and on_cpu(run.engine) else number) * shape.kv
    return key_bytes(run.source.rollout, run.around, PROMPT, each, run.engine.slots * count) / count
