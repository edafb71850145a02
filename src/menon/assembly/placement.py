"""Where the models of a run are placed, which weights the sampler uses, and how new weights reach it."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.origin import origin_of_model
from menon.base import BASES
from menon.config import Control, Engine, Models, OnlineSource, RunConfig
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.forward import value_head
from menon.engines.hf_models import end_token_ids, export, load_policy, load_value_model
from menon.engines.in_process import InProcessHost
from menon.engines.limits import rows_of
from menon.engines.machine import has_bf16, workers
from menon.engines.natural_gradient import NaturalLearner
from menon.engines.protocols import Learner, Scorer
from menon.engines.torch_learner import TorchLearner, TorchScorer
from menon.errors import UserError
from menon.limit import Limit
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.sync.no_sampler import NoSampler
from menon.sync.protocols import WeightChannel

CORPUS = {"base": "sums", "search_base": "search"}
"""The corpus from which `menon pretrain` makes each built-in model."""
START = "start"
"""The teacher that is the policy as it was at the start."""
ALTERNATIVES = 8
"""Most probable tokens that `record=full` keeps beside each token that was drawn."""
WEIGHTS_DTYPE = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""The dtype of the learner's weights, by the run's dtype; bfloat16 runs compute in bfloat16 on float32
weights."""


@dataclass(frozen=True)
class Placed(AbstractContextManager):
    """The models of a run, its sampler, and the channel between them. Leaving its `with` ends the processes
    that were started for it."""

    host: InProcessHost
    sampler: TorchSampler
    channel: WeightChannel
    tokenizer: PreTrainedTokenizerBase
    context: Limit | None
    """Most tokens of a sequence that the sampler can write; None if its configuration does not say."""
    origin: Mapping[str, Any]
    """Fingerprints of the policy's model as it was read."""
    ends: tuple[int, ...]
    """The tokens that end a text, the tokenizer's own first."""

    @property
    def parameters(self) -> int:
        """The number of the policy's parameters."""
        return sum(weight.numel() for weight in self.host.models["policy"].weights().values())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sampler.close()


@dataclass(frozen=True)
class Unwritten:
    """The models of a run that writes no text."""

    host: InProcessHost
    channel: WeightChannel
    tokenizer: PreTrainedTokenizerBase
    context: Limit | None
    origin: Mapping[str, Any]
    ends: tuple[int, ...]


def place(config: RunConfig, notify: Callable[[str], None] = lambda sentence: None) -> Placed:
    """Places all models in this process and on one device; all but a teacher start from the policy's
    weights."""
    model, tokenizer, origin = start_of(config.models, config.engine)
    # The sampler first: it may move the weights into shared memory.
    sampler = sampler_of(config.source, config.engine, config.control, model, tokenizer, notify)
    temperature, seed = config.source.temperature, config.control.seed
    host = host_of(config.models, config.engine, temperature, seed, model, tokenizer)
    origin = with_teacher(origin, host)
    channel = (ByReference if sampler.model is model else ByCopy)(host.models["policy"], sampler)
    return Placed(host, sampler, channel, tokenizer, rows_of(model), origin, end_token_ids(model, tokenizer))


def place_without_sampler(models: Models, engine: Engine, temperature: float, seed: int) -> Unwritten:
    """The same for a run that writes no text."""
    model, tokenizer, origin = start_of(models, engine)
    host = host_of(models, engine, temperature, seed, model, tokenizer)
    origin, ends = with_teacher(origin, host), end_token_ids(model, tokenizer)
    return Unwritten(host, NoSampler(host), tokenizer, rows_of(model), origin, ends)


def start_of(
    models: Models, engine: Engine
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Mapping[str, Any]]:
    """The policy's model as it is at the start, its tokenizer, and the fingerprints of both."""
    if models.teacher == "":
        raise UserError(
            "this recipe learns from a teacher, and none is named; set teacher=FOLDER to a model with the "
            "policy's vocabulary"
        )
    start, device = model_name(models.policy.model), device_of(engine.device)
    model, tokenizer = load_policy(start, WEIGHTS_DTYPE[engine.dtype], device)
    return model, tokenizer, origin_of_model(model, tokenizer)


def host_of(
    models: Models,
    engine: Engine,
    temperature: float,
    seed: int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> InProcessHost:
    """The models of a run around its policy."""
    device = device_of(engine.device)
    placed = models_of(models, engine, temperature, seed, model, device)
    if models.teacher is not None:
        name = models.policy.model if models.teacher == START else models.teacher
        teacher = teacher_of(name, engine, tokenizer, device)
        placed["teacher"] = TorchScorer(teacher, **scorer_settings(engine, temperature, device))
    return InProcessHost(placed, {"policy": partial(export, model, tokenizer)})


def teacher_of(
    name: str, engine: Engine, tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> PreTrainedModel:
    """The teacher's model. UserError unless its tokens are the policy's."""
    teacher, own = load_policy(model_name(name), WEIGHTS_DTYPE[engine.dtype], device)
    if own.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the teacher {name} has another vocabulary than the policy, so its probabilities belong to "
            "other tokens; take a teacher of the same family, or learn from texts that it has written (sft)"
        )
    return teacher.requires_grad_(False)


def with_teacher(origin: Mapping[str, Any], host: InProcessHost) -> Mapping[str, Any]:
    """The fingerprints of what a run began with, those of its teacher too."""
    return {**origin, "teacher": host.fingerprint("teacher")} if "teacher" in host.roles else origin


def scorer_settings(engine: Engine, temperature: float, device: torch.device) -> dict[str, Any]:
    return {
        "temperature": temperature,
        "tokens_per_forward": engine.tokens_per_forward,
        "device": device,
        "autocast": torch.bfloat16 if engine.dtype == "bfloat16" else None,
    }


def sampler_of(
    source: OnlineSource,
    engine: Engine,
    control: Control,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    notify: Callable[[str], None],
) -> TorchSampler:
    """A sampler on the learner's own weights where both have one dtype and take turns, else on a copy of the
    weights."""
    settings: dict[str, Any] = {
        "seed": control.seed,
        "slots": engine.slots,
        "fixed_slots": engine.fixed_slots,
        "processes": workers(model.num_parameters(), model.device),
        "alternatives": ALTERNATIVES if control.record == "full" else 0,
        "keep_special_tokens": source.keep_special_tokens,
    }
    if engine.dtype != "bfloat16":
        weights = copy.deepcopy(model).requires_grad_(False) if source.ahead else model
        return TorchSampler(weights, tokenizer, **settings)
    if not has_bf16(model.device):
        notify(
            f"this {model.device.type} has no bfloat16 instructions and emulates them slowly; dtype=float32 "
            "is faster here"
        )
    return TorchSampler(own_copy(model, torch.bfloat16), tokenizer, **settings)


def models_of(
    models: Models,
    engine: Engine,
    temperature: float,
    seed: int,
    model: PreTrainedModel,
    device: torch.device,
) -> dict[str, Scorer]:
    """The models by role: the policy, and the reference and the critic if the configuration has them."""
    policy, critic = models.policy, models.critic
    settings = scorer_settings(engine, temperature, device)
    found: dict[str, Scorer] = {}
    if models.reference == "frozen":
        found["reference"] = TorchScorer(copy.deepcopy(model).requires_grad_(False), **settings)
    if critic is not None and critic.shared_trunk:
        weight: Any = model.get_input_embeddings().weight
        head = value_head(weight.shape[1], critic.init, seed).to(weight.dtype)
        both = TorchLearner(model, policy.optimiser, heads={"value": head}, **settings)
        return {"policy": both, "critic": both, **found}
    if critic is not None:
        start, dtype = model_name(policy.model), WEIGHTS_DTYPE[engine.dtype]
        value_model = load_value_model(start, dtype, device, critic.init, seed)
        found["critic"] = TorchLearner(value_model, critic.optimiser, **settings)
    learner: Learner = TorchLearner(model, policy.optimiser, **settings)
    return {"policy": learner if policy.natural is None else NaturalLearner(learner, policy.natural), **found}


def device_of(name: str) -> torch.device:
    """The device of a name such as auto, cpu or cuda:1; UserError if this machine does not have it."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise UserError(f"there is no device '{name}'; use auto, cpu, cuda, or cuda:1 and so on") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"there is no engine for device '{name}'; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device is '{name}', and torch sees {torch.cuda.device_count()} GPUs here; use device=cpu or "
            "another number"
        )
    if device.index is not None:
        torch.cuda.set_device(device)  # torch's "current" GPU is then this one
    return device


def model_name(model: str) -> str:
    """The folder or name that `load_policy` takes: the folder of a built-in base, or the name itself."""
    if model not in BASES:
        return model
    if not (BASES[model] / "config.json").exists():
        raise UserError(
            f"the built-in model '{model}' is missing here; make one with `menon pretrain "
            f"corpus={CORPUS[model]} out=my-base` "
            "and use model=my-base"
        )
    return str(BASES[model])
