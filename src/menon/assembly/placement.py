"""Where the models of a run are placed, which weights the sampler uses, and how new weights reach it."""

import copy
import difflib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.origin import origin_of_model
from menon.assembly.projections import projections_to, show_attention
from menon.assembly.teachers import check_named, models_named, teacher_of
from menon.base import BASES
from menon.config import Control, Critic, Engine, Models, Objective, OnlineSource, Policy, RunConfig
from menon.engines.added_tokens import add_padding, add_tokens
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.forward import ValueModel, value_head
from menon.engines.hf_models import end_token_ids, export, load_policy
from menon.engines.in_process import InProcessHost
from menon.engines.limits import rows_of
from menon.engines.machine import has_bf16, workers
from menon.engines.model_files import FileDtypes, dtypes_in
from menon.engines.natural_gradient import NaturalLearner
from menon.engines.protocols import Learner, Scorer
from menon.engines.reward_model import check_classifier, export_reward_model
from menon.engines.torch_learner import TorchLearner, TorchScorer
from menon.errors import UserError
from menon.limit import Limit
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.sync.no_sampler import NoSampler
from menon.sync.protocols import WeightChannel

CORPUS = {"base": "sums", "search_base": "search"}
"""The corpus from which `menon pretrain` makes each built-in model."""
ALTERNATIVES = 8
"""Most probable tokens that `record=full` keeps beside each token that was drawn."""
ROUNDED = (
    "this run computes in {}, and the model's files in its checkpoints are {}; where other tools must read "
    "every digit, set save_dtype=float32"
)
"""What a run says whose files hold less than it measures."""
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
    saved_as = saved_dtypes(
        config.control.save_dtype, config.models.policy.model, model, config.engine.dtype, notify
    )
    # The sampler first: it may move the weights into shared memory.
    sampler = sampler_of(config.source, config.engine, config.control, model, tokenizer, notify)
    temperature, seed = config.source.temperature, config.control.seed
    host = host_of(
        config.models, config.objective, config.engine, temperature, seed, model, tokenizer, saved_as
    )
    origin = with_teacher(origin, host)
    channel = (ByReference if sampler.model is model else ByCopy)(host.models["policy"], sampler)
    return Placed(host, sampler, channel, tokenizer, rows_of(model), origin, end_token_ids(model, tokenizer))


def place_without_sampler(
    models: Models,
    objective: Objective,
    engine: Engine,
    temperature: float,
    control: Control,
    notify: Callable[[str], None] = lambda sentence: None,
) -> Unwritten:
    """The same for a run that writes no text."""
    model, tokenizer, origin = start_of(models, engine)
    saved_as = saved_dtypes(control.save_dtype, models.policy.model, model, engine.dtype, notify)
    host = host_of(models, objective, engine, temperature, control.seed, model, tokenizer, saved_as)
    origin, ends = with_teacher(origin, host), end_token_ids(model, tokenizer)
    return Unwritten(host, NoSampler(host), tokenizer, rows_of(model), origin, ends)


def start_of(
    models: Models, engine: Engine
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Mapping[str, Any]]:
    """The policy's model as it is at the start, its tokenizer, and the fingerprints of both as they were
    read, before tokens were added."""
    check_named(models)
    policy, device = models.policy, device_of(engine.device)
    model, tokenizer = load_policy(model_name(policy.model), WEIGHTS_DTYPE[engine.dtype], device)
    origin = origin_of_model(model, tokenizer)
    add_tokens(model, tokenizer, policy.add_tokens, policy.model)
    if policy.head == "reward":
        check_classifier(model, policy.model)
        add_padding(model, tokenizer, end_token_ids(model, tokenizer))
    return model, tokenizer, origin


def host_of(
    models: Models,
    objective: Objective,
    engine: Engine,
    temperature: float,
    seed: int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    saved_as: FileDtypes,
) -> InProcessHost:
    """The models of a run around its policy."""
    device, heads = device_of(engine.device), reward_heads(models.policy, model, seed)
    dtype, settings = WEIGHTS_DTYPE[engine.dtype], scorer_settings(engine, temperature, device)
    teachers = models_named(models, model_name, tokenizer, dtype, device)
    heads |= projections_to(objective, model, teachers, seed)
    show_attention(objective, model, *teachers.values())
    placed = models_of(models, engine, temperature, seed, model, heads, device)
    teacher = teacher_of(models, placed["policy"], teachers, settings)
    if teacher is not None:
        placed["teacher"] = teacher
    write = partial(export, model, tokenizer, dtypes=saved_as)
    if "reward" in heads:
        write = partial(export_reward_model, model, heads["reward"], tokenizer)
    return InProcessHost(placed, {"policy": write})


def reward_heads(policy: Policy, model: PreTrainedModel, seed: int) -> dict[str, torch.nn.Linear]:
    """The reward head of a policy that has one, by its name; all texts score 0 at first."""
    if policy.head == "none":
        return {}
    weight: Any = model.get_input_embeddings().weight
    return {"reward": value_head(weight.shape[1], "zero", seed).to(weight)}


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


def saved_dtypes(
    setting: str, name: str, model: PreTrainedModel, dtype: str, notify: Callable[[str], None]
) -> FileDtypes:
    """The dtypes of the model's files in checkpoints: those of the folder that the model was read from, or
    one for all. The built-in models are in bfloat16 only to keep the package small. `notify` hears where
    they round what a run in this `dtype` learns."""
    if setting == "auto" and name not in BASES:
        found = dtypes_in(Path(str(model.name_or_path)))  # also where it came from the hub
    else:
        found = FileDtypes(torch.bfloat16 if setting == "bfloat16" else torch.float32)
    if dtype != "bfloat16" and found.usual.itemsize < 4:
        notify(ROUNDED.format(dtype, str(found.usual).removeprefix("torch.")))
    return found


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
        "kept": source.top_k if source.truncation == "exact" else 0,
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
    heads: Mapping[str, torch.nn.Linear],
    device: torch.device,
) -> dict[str, Scorer]:
    """The models by role: the policy with its heads, and the reference and the critic if the configuration
    has them."""
    policy, critic = models.policy, models.critic
    settings = scorer_settings(engine, temperature, device)
    found: dict[str, Scorer] = {}
    if models.reference == "frozen":
        found["reference"] = TorchScorer(copy.deepcopy(model).requires_grad_(False), **settings)
    if critic is not None and critic.shared_trunk:
        head = critic_head(critic, model, seed)
        both = TorchLearner(model, policy.optimiser, heads={"value": head, **heads}, **settings)
        return {"policy": both, "critic": both, **found}
    if critic is not None:
        value_model = ValueModel(copy.deepcopy(model.base_model), critic_head(critic, model, seed))
        found["critic"] = TorchLearner(value_model, critic.optimiser, **settings)
    learner: Learner = TorchLearner(model, policy.optimiser, heads=heads, **settings)
    return {"policy": learner if policy.natural is None else NaturalLearner(learner, policy.natural), **found}


def critic_head(critic: Critic, model: PreTrainedModel, seed: int) -> torch.nn.Linear:
    weight: Any = model.get_input_embeddings().weight
    return value_head(weight.shape[1], critic.init, seed).to(weight.dtype)


def device_of(name: str) -> torch.device:
    """The device of a name such as auto, cpu or cuda:1; UserError if this machine does not have it."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise UserError(f"there is no device '{name}'; use auto, cpu, cuda, or cuda:1 and so on") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"there is no engine for device '{name}'; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        known = ", ".join(f"cuda:{index}" for index in range(count))
        seen = f"only {known} here; use one of these or cpu" if count else "no GPU here; use device=cpu"
        raise UserError(f"device is '{name}', and torch sees {seen}")
    if device.index is not None:
        torch.cuda.set_device(device)  # torch's "current" GPU is then this one
    return device


def model_name(model: str) -> str:
    """The folder or name that `load_policy` takes: the folder of a built-in base, or the name itself."""
    if model not in BASES:
        near = difflib.get_close_matches(model, BASES, 1, 0.8)
        if near and not Path(model).exists():
            raise UserError(f"there is no model '{model}' here; did you mean the built-in '{near[0]}'?")
        return model
    if not (BASES[model] / "config.json").exists():
        raise UserError(
            f"the built-in model '{model}' is missing here; make one with `menon pretrain "
            f"corpus={CORPUS[model]} out=my-base` "
            "and use model=my-base"
        )
    return str(BASES[model])
