"""What follows from a configuration before anything runs: sizes of a step, and how far off-policy it
learns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from menon.assembly.answer_length import length_within
from menon.assembly.models import model_name
from menon.config import Models, RunConfig, around_of
from menon.engine_settings import Engine
from menon.engines import layers, lora, machine
from menon.engines.adapter_files import base_named_in, is_adapter
from menon.engines.hf_models import without_weights
from menon.engines.limits import cache_per_token, layers_of, rows_of
from menon.engines.llama_family import is_family
from menon.engines.model_folders import folder_of
from menon.limit import Limit
from menon.rollout.protocols import StepSizes, sizes_of
from menon.update.adapter import Adapter
from menon.update.teacher_settings import POLICY

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 4, "float64": 8}
"""Bytes of one weight of a learner, by dtype; bfloat16 runs keep float32 weights."""
PROMPT = 128
"""Tokens assumed for a prompt, because the prompts are not read yet."""


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
    outside: int = 0
    """Numbers of the weights outside of the layers: embedding, last norm, head."""
    layer: int = 0
    """Numbers of the weights of the largest layer."""
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
    take no memory. None for a model that is not on this disk. UserError: what is there is no model."""
    folder = Path(model_name(name)).expanduser()
    if is_adapter(folder):
        folder = Path(base_named_in(folder, name)).expanduser()
    if not (folder / "config.json").is_file():
        if folder.exists():
            folder_of(str(folder))
        return None
    model = without_weights(folder, name)
    text = model.config.get_text_config()
    hidden = getattr(text, "hidden_size", 0)
    inside = [sum(weight.numel() for weight in layer.parameters()) for layer in layers.layers_of(model)]
    wide = [getattr(layer, "intermediate_size", None) or 4 * hidden for layer in layers_of(text)]
    return ModelSize(
        parameters=sum(weight.numel() for weight in model.parameters()),
        layers=getattr(text, "num_hidden_layers", 0),
        hidden=hidden,
        intermediate=max(max(each) if isinstance(each, list) else each for each in wide),
        kv=cache_per_token(model),
        vocabulary=text.vocab_size,
        family=is_family(model),
        outside=sum(weight.numel() for weight in model.parameters()) - sum(inside),
        layer=max(inside, default=0),
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
    """Whether the learner passes by prompt; see `engines.machine.is_large`."""
    if model is None or not model.family or not on_cpu(engine) or engine.ranks > 1:
        return False
    return machine.is_large(model.parameters, torch.device("cpu"))


def most_tokens(engine: Engine, model: ModelSize | None) -> int:
    """The most tokens of the forward passes that run at a time."""
    return min(engine.tokens_per_forward, machine.AT_ONCE if is_large(engine, model) else 2**62)


def tokens_per_pass(engine: Engine, tokens: float, workers: int, model: ModelSize | None = None) -> int:
    """Tokens of one forward pass of an update; see `update.objective.forward_rows`."""
    if workers == 1:
        return most_tokens(engine, model)
    return max(1, int(min(engine.tokens_per_forward, tokens)) // workers)
