"""What follows from a configuration before anything runs: sizes of a step, how far off-policy it learns,
memory."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from menon.assembly.answer_length import length_within
from menon.assembly.models import model_name
from menon.assembly.rollout_memory import key_bytes
from menon.assembly.sampler_memory import of_vllm
from menon.config import Models, RunConfig, around_of
from menon.engine_settings import VLLM, Builtin, Engine
from menon.engines import lora, machine
from menon.engines.adapter_files import base_named_in, is_adapter
from menon.engines.hf_models import cache_per_token, without_weights
from menon.engines.limits import layers_of, rows_of
from menon.engines.llama_family import is_family
from menon.engines.log_probs import CHUNK
from menon.limit import Limit
from menon.rollout.protocols import StepSizes, sizes_of
from menon.update.adapter import Adapter
from menon.update.teacher_settings import POLICY

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 4, "float64": 8}
"""Bytes of one weight of a learner, by dtype; bfloat16 runs keep float32 weights."""
COPIES = 3
"""How often a chunk of logits exists at once: the logits, their log-softmax, their gradient."""
LEARNING = ("gradients", "activations", "logits")
"""What is there while a model learns and not while text is written."""
PROMPT = 128
"""Tokens assumed for a prompt, because the prompts are not read yet."""
LIBRARIES, OTHER_PROCESS = 2**29, 190 * 2**20
"""Bytes of this process before it loads a model, and bytes of a worker sampler before its first answer."""


@dataclass(frozen=True)
class ModelSize:
    """The sizes of a model that its memory depends on; 0 where its configuration does not say."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    """Numbers between the matrices of an MLP, in the widest layer."""
    kv: int
    """Numbers of one token's keys and values in all layers."""
    vocabulary: int
    family: bool = False
    """Whether the model's class belongs to the Llama family."""
    copied: int = 0
    """Numbers of the matrices that each process of the sampler copies."""
    context: Limit | None = None
    """Most tokens of a sequence that the sampler can write."""
    linears: tuple[tuple[str, int, int], ...] = ()
    """Name, numbers in and numbers out of each linear layer that an adapter may be put around."""

    def around(self, adapter: Adapter) -> list[tuple[int, int]]:
        """Numbers in and out of the layers that an adapter is put around."""
        ends = [f".{target}" for target in adapter.targets] or [""]
        return [(a, b) for name, a, b in self.linears if f".{name}".endswith(tuple(ends))]

    def adapter_size(self, adapter: Adapter) -> int:
        """The numbers of A and B of all layers."""
        return sum(adapter.rank * (a + b) for a, b in self.around(adapter))


@dataclass(frozen=True)
class Sizes:
    """The sizes of a run that follow from its configuration."""

    step: StepSizes
    per_update: float
    """Sequences that an update learns from, at most."""
    updates: int
    """Updates of the policy in the whole run."""
    lag: int
    """The largest number of updates between the weights that wrote a sequence and those that learn from it.
    Where no sequence waits for a later step and none is stale, the mean is half of it."""
    staleness: int = 0
    """How many versions older than the weights that learn from it text may be."""


def sizes(config: RunConfig) -> Sizes:
    """Computes the sizes of a run from its configuration."""
    count = config.models.policy.updates_per_step
    stale = config.source.staleness if config.rows is None else 0
    if config.rows is None:
        step = sizes_of(config.source.rollout, around_of(config.source, config.control.seed))
    else:
        texts = config.rows.rows_per_step * (2 if config.rows.paired else 1)
        step = StepSizes(texts, 0, texts, texts, form=config.rows.step)
    lag = (step.max_age + stale) * count - 1
    return Sizes(step, step.sequences / count, config.control.steps * count, lag, stale)


def size_of_model(name: str) -> ModelSize | None:
    """The sizes of a model, read from its config.json alone; the weights are built on the meta device and
    take no memory. None for a model that is not on this disk."""
    folder = Path(model_name(name)).expanduser()
    if is_adapter(folder):
        folder = Path(base_named_in(folder, name)).expanduser()
    if not (folder / "config.json").is_file():
        return None
    model = without_weights(folder, name)
    text = model.config.get_text_config()
    hidden = getattr(text, "hidden_size", 0)
    wide = [getattr(layer, "intermediate_size", None) or 4 * hidden for layer in layers_of(text)]
    return ModelSize(
        parameters=sum(weight.numel() for weight in model.parameters()),
        layers=getattr(text, "num_hidden_layers", 0),
        hidden=hidden,
        intermediate=max(max(each) if isinstance(each, list) else each for each in wide),
        kv=cache_per_token(model),
        vocabulary=text.vocab_size,
        family=is_family(model),
        copied=copied_in(model),
        context=rows_of(model),
        linears=tuple((name, *in_and_out(part)) for name, part in lora.linears(model).items()),
    )


def in_and_out(layer: Any) -> tuple[int, int]:
    """Of a linear layer, or of GPT-2's, which keeps its matrix the other way round."""
    out, into = layer.weight.shape if type(layer) is nn.Linear else layer.weight.shape[::-1]
    return int(into), int(out)


def assumed_length(asked: int | None, model: ModelSize | None) -> int:
    """The length of answers: where the model's context decides it, for prompts of `PROMPT` tokens."""
    within = length_within(None if model is None else model.context, PROMPT)
    return max(1, within) if asked is None else asked


def parameters_of(models: Models, policy: ModelSize) -> int:
    """The number of the teachers' weights; for each that is not known yet that of the policy's. The policy
    itself takes none, and teachers of one name are one model."""
    named = set(models.teachers.values() or (models.teacher,)) - {None, POLICY}
    known = [size_of_model(name) if name else None for name in named]
    return sum(policy.parameters if size is None else size.parameters for size in known)


def copied_in(model: nn.Module) -> int:
    """How many numbers the matrices have that each process of a sampler copies if they are not too large:
    those of the layers, and the head."""
    linear = [part.weight.numel() for part in model.modules() if type(part) is nn.Linear]
    return sum(linear) if is_family(model) else 0


def num_workers(engine: Engine, model: ModelSize | None) -> int:
    """How many processes write answers, which is also how many passes of the learner run at a time, for the
    present number of torch threads."""
    device = torch.device("cpu" if on_cpu(engine) else "cuda")
    return machine.workers(model.parameters, device) if model and model.family else 1


def on_cpu(engine: Engine) -> bool:
    """Whether the run will compute on a CPU."""
    return engine.device == "cpu" or (engine.device == "auto" and not torch.cuda.is_available())


def is_large(engine: Engine, model: ModelSize | None) -> bool:
    """Whether the learner passes by prompt; see `engines.machine.passes_by_prompt`."""
    if model is None or not model.family or not on_cpu(engine) or engine.ranks > 1:
        return False
    return machine.passes_by_prompt(model.parameters, torch.device("cpu"))


def most_tokens(engine: Engine, model: ModelSize | None) -> int:
    """The most tokens of the forward passes that run at a time."""
    return min(engine.tokens_per_forward, machine.AT_ONCE if is_large(engine, model) else 2**62)


def tokens_per_pass(engine: Engine, tokens: float, workers: int, model: ModelSize | None = None) -> int:
    """Tokens of one forward pass of an update; see `update.objective.forward_rows`."""
    if workers == 1:
        return most_tokens(engine, model)
    return max(1, int(min(engine.tokens_per_forward, tokens)) // workers)


def tokens_at_once(tokens_per_forward: int, sequences: float, longest: int) -> int:
    """Tokens of the forward passes of an update that run at a time, if each of its sequences has `longest`
    tokens: `tokens_per_forward`, or all of the update where it has fewer. A sequence is never cut.

    >>> tokens_at_once(8192, 100, 200), tokens_at_once(8192, 4, 200), tokens_at_once(100, 4, 200)
    (8192, 800, 200)
    """
    return min(max(tokens_per_forward, longest), math.ceil(sequences) * longest)


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
    """Bytes of weights that only the sampler has."""


def held_by(models: Models, dtype: str, shape: ModelSize, learning: int) -> Held:
    """For `learning` models that train. With an adapter the frozen weights are there once for all of them and
    the reference, their matrices in bfloat16 if that is what computes; a sampler in the learner's dtype has
    merged copies of the matrices that the adapter changes."""
    number, adapter = BYTES[dtype], models.policy.adapter
    narrow = dtype == "bfloat16"
    if adapter is None:
        whole = number * shape.parameters
        kept = (models.reference != "none") * whole
        return Held(shape.parameters, learning * whole, kept, narrow * 2 * shape.parameters)
    learned = shape.adapter_size(adapter)
    frozen = number * shape.parameters - narrow * 2 * sum(a * b for _, a, b in shape.linears)
    merged = number * sum(a * b for a, b in shape.around(adapter))
    return Held(learned, frozen + learning * number * learned, 0, 2 * shape.parameters if narrow else merged)


def memory(config: RunConfig, shape: ModelSize) -> dict[str, float]:
    """Bytes by what holds them, at the time when the policy learns. The sampler's cache is kept between steps
    and counts too.

    Weights, gradient and AdamW's two moments of everything that learns; gradients of the passes that run in
    parallel, and of the one that is being added; a copy of the weights for a sampler in bfloat16, and of the
    matrices for each of its processes; the reference. With an adapter only it has gradient and moments, the
    reference and a critic share the frozen weights, and the sampler has merged copies of the matrices that it
    changes. What forward passes of `tokens_at_once` keep for their backward pass (8 hidden and 4 intermediate
    numbers, keys and values a token and layer: a Llama block with fused attention); a chunk of logits three
    times; keys and values of all slots, with answers of full length and prompts of `PROMPT` tokens, and of
    whole trees with the record of their nodes; the libraries. Passes share `tokens_per_forward` and processes
    share the slots, so these do not grow with their number. In place of the built-in sampler's, what vLLM's
    process holds (`sampler_memory`).

    A large model on a CPU keeps less of a token (2 intermediate numbers in fp32, and keys and values of a
    prompt for several answers) and its logits once. Its sampler's packed copies and caches are freed before
    it learns, so of writing and learning the larger counts.
    """
    engine, models, workers = config.engine, config.models, num_workers(config.engine, shape)
    number = BYTES[engine.dtype]
    own = 2 if engine.dtype == "bfloat16" else number
    learning = 1 + (models.critic is not None and not models.critic.shared_trunk)
    here, large = on_cpu(engine), is_large(engine, shape)
    inside = (2 if large and own == 4 else 4) * shape.intermediate
    per_token = shape.layers * (8 * shape.hidden + inside) + (3 if large else 1) * shape.kv
    # See `engines.decoding.decode_weights`: `cache_dtype`, `is_packed` and `is_copied`.
    cached = (own if shape.family and here else number) * shape.kv
    copied = own * shape.copied <= machine.PACKED if here else shape.copied <= machine.SMALL
    # In fp32, see `decoder.causal`.
    attention = (number - own) * here * (2 * shape.layers * shape.hidden + shape.kv)
    fewest = min(one.updates_per_step for one in (models.policy, models.critic) if one is not None)
    around = around_of(config.source, config.control.seed)
    writes = config.asks and isinstance(engine.sampler, Builtin)
    keys = key_bytes(config.source.rollout, around, PROMPT, cached, engine.slots) if writes else 0
    sequences, longest = sizes(config).step.sequences / fewest, PROMPT + around.sampling.max_new_tokens
    tokens = tokens_at_once(most_tokens(engine, shape), sequences, longest)
    held = held_by(models, engine.dtype, shape, learning)
    packed = workers * own * shape.copied * copied
    found: dict[str, Any] = {
        "weights": held.weights,
        "gradients": (learning + (workers > 1) * (workers + 1)) * number * held.learned,
        "optimiser": learning * 2 * number * held.learned,
        "reference": held.reference,
        "teacher": number * parameters_of(models, shape),
        "sampler's copies": writes * (held.copies + packed),
        "activations": (own * per_token + attention) * tokens,
        "logits": (1 if large else COPIES) * 4 * min(CHUNK, tokens * shape.vocabulary),
        "keys and values": keys,
        "libraries": LIBRARIES + (workers - 1) * OTHER_PROCESS,
    }
    if large:
        learned = sum(found[name] for name in LEARNING)
        if learned > writes * packed + keys:
            found |= {"sampler's copies": writes * held.copies, "keys and values": 0}
        else:
            found |= dict.fromkeys(LEARNING, 0)
    if config.asks and isinstance(engine.sampler, VLLM):
        found |= of_vllm(engine, shape.parameters, shape.vocabulary * shape.hidden)
    return {name: float(size) for name, size in found.items() if size}
