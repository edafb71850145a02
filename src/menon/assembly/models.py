"""The models of a run in one process: the policy as it begins, and those around it."""

import copy
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.origin import origin_of_model
from menon.assembly.projections import projections_to, show_attention
from menon.assembly.teachers import check_named, models_named, teacher_of
from menon.base import BASES
from menon.config import Critic, Models, Objective, Policy
from menon.engine_settings import Engine
from menon.engines.added_tokens import add_padding, add_tokens
from menon.engines.forward import ValueModel, value_head
from menon.engines.hf_models import end_token_ids, export, load_policy
from menon.engines.in_process import InProcessHost
from menon.engines.model_files import FileDtypes, dtypes_in
from menon.engines.natural_gradient import NaturalLearner
from menon.engines.protocols import Learner, Scorer
from menon.engines.reward_model import check_classifier, export_reward_model
from menon.engines.torch_learner import TorchLearner, TorchScorer
from menon.errors import UserError
from menon.update.host import ModelHost

CORPUS = {"base": "sums", "search_base": "search"}
"""The corpus from which `menon pretrain` makes each built-in model."""
ROUNDED = (
    "this run computes in {}, and the model's files in its checkpoints are {}; where other tools must read "
    "every digit, set save_dtype=float32"
)
"""What a run says whose files hold less than it measures."""
WEIGHTS_DTYPE = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""The dtype of the learner's weights, by the run's dtype; bfloat16 runs compute in bfloat16 on float32
weights."""


def models_here(host: ModelHost, setting: str) -> dict[str, Scorer]:
    """The models of a host that holds them in this process, by role. UserError: it does not, and `setting`
    needs to reach into them."""
    if not isinstance(host, InProcessHost):
        raise UserError(
            f"{setting} works with models in one process only; leave it out, or set ranks=1 and leave "
            "colocated out"
        )
    return host.models


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


@dataclass(frozen=True)
class Kinds:
    """How the models of a run are held: each whole in this process, or in parts on ranks."""

    scorer: Callable[..., TorchScorer] = TorchScorer
    learner: Callable[..., TorchLearner] = TorchLearner


HERE = Kinds()


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
    """The models of a run around its policy, whole and in this process."""
    placed, heads = roles_of(models, objective, engine, temperature, seed, model, tokenizer)
    write = partial(export, model, tokenizer, dtypes=saved_as)
    if "reward" in heads:
        write = partial(export_reward_model, model, heads["reward"], tokenizer)
    return InProcessHost(placed, {"policy": write})


def roles_of(
    models: Models,
    objective: Objective,
    engine: Engine,
    temperature: float,
    seed: int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    kinds: Kinds = HERE,
) -> tuple[dict[str, Scorer], Mapping[str, torch.nn.Linear]]:
    """The models of a run by role, and the heads of the policy by name."""
    device, heads = device_of(engine.device), reward_heads(models.policy, model, seed)
    dtype, settings = WEIGHTS_DTYPE[engine.dtype], scorer_settings(engine, temperature, device)
    teachers = models_named(models, model_name, tokenizer, dtype, device)
    heads |= projections_to(objective, model, teachers, seed)
    show_attention(objective, model, *teachers.values())
    placed = models_of(models, engine, temperature, seed, model, heads, device, kinds)
    teacher = teacher_of(models, placed["policy"], teachers, settings, kinds.scorer)
    if teacher is not None:
        placed["teacher"] = teacher
    return placed, heads


def reward_heads(policy: Policy, model: PreTrainedModel, seed: int) -> dict[str, torch.nn.Linear]:
    """The reward head of a policy that has one, by its name; all texts score 0 at first."""
    if policy.head == "none":
        return {}
    weight: Any = model.get_input_embeddings().weight
    return {"reward": value_head(weight.shape[1], "zero", seed).to(weight)}


def with_teacher(origin: Mapping[str, Any], host: ModelHost) -> Mapping[str, Any]:
    """The fingerprints of what a run began with, those of its teacher too."""
    return {**origin, "teacher": host.fingerprint("teacher")} if "teacher" in host.roles else origin


def scorer_settings(engine: Engine, temperature: float, device: torch.device) -> dict[str, Any]:
    return {
        "temperature": temperature,
        "tokens_per_forward": engine.tokens_per_forward,
        "device": device,
        "autocast": torch.bfloat16 if engine.dtype == "bfloat16" else None,
        "checkpointing": engine.checkpointing,
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


def models_of(
    models: Models,
    engine: Engine,
    temperature: float,
    seed: int,
    model: PreTrainedModel,
    heads: Mapping[str, torch.nn.Linear],
    device: torch.device,
    kinds: Kinds = HERE,
) -> dict[str, Scorer]:
    """The models by role: the policy with its heads, and the reference and the critic if the configuration
    has them."""
    policy, critic = models.policy, models.critic
    settings = scorer_settings(engine, temperature, device)
    found: dict[str, Scorer] = {}
    if models.reference == "frozen":
        found["reference"] = kinds.scorer(copy.deepcopy(model).requires_grad_(False), **settings)
    if critic is not None and critic.shared_trunk:
        head = critic_head(critic, model, seed)
        both = kinds.learner(model, policy.optimiser, heads={"value": head, **heads}, **settings)
        return {"policy": both, "critic": both, **found}
    if critic is not None:
        value_model = ValueModel(copy.deepcopy(model.base_model), critic_head(critic, model, seed))
        found["critic"] = kinds.learner(value_model, critic.optimiser, **settings)
    learner: Learner = kinds.learner(model, policy.optimiser, heads=heads, **settings)
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
