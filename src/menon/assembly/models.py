"""The models of a run in one process: the policy as it begins, and those around it."""

import copy
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from menon.engines import lora
from menon.engines.adapter_files import check_continued, fingerprint_of_base, write
from menon.engines.added_tokens import add_padding, add_tokens
from menon.engines.hf_models import end_token_ids, export, load_policy, load_with_adapter
from menon.engines.in_process import Export, InProcessHost
from menon.engines.model_files import FileDtypes, dtypes_in
from menon.engines.natural_gradient import NaturalLearner
from menon.engines.network import ValueModel, value_head
from menon.engines.protocols import Learner, Scorer
from menon.engines.reward_model import check_classifier, export_reward_model
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.update.adapter import Adapter
from menon.update.host import ModelHost
from menon.update.reference import HardReset, MovingAverage

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
    models: Models, engine: Engine, seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Mapping[str, Any]]:
    """The policy's model as it is at the start, with its adapter if it has one, its tokenizer, and the
    fingerprints of both as they were read, before tokens were added. `seed` draws a new adapter."""
    check_named(models)
    policy, device = models.policy, device_of(engine.device)
    if policy.adapter is not None:
        check_adapter(models)
    load = load_policy if policy.adapter is None else load_with_adapter
    model, tokenizer = load(model_name(policy.model), WEIGHTS_DTYPE[engine.dtype], device)
    origin = origin_of_model(model, tokenizer)
    add_tokens(model, tokenizer, policy.add_tokens, policy.model)
    if policy.head == "reward":
        check_classifier(model, policy.model)
        add_padding(model, tokenizer, end_token_ids(model, tokenizer))
    if policy.adapter is not None:
        give_adapter(model, policy.adapter, seed, policy.model)
    return model, tokenizer, origin


@dataclass(frozen=True)
class Kinds:
    """How the models of a run are held: each whole in this process, or in parts on ranks."""

    scorer: Callable[..., TorchScorer] = TorchScorer
    learner: Callable[..., TorchLearner] = TorchLearner


HERE = Kinds()


def check_adapter(models: Models) -> None:
    """UserError for models that an adapter cannot serve."""
    lora.peft_library()
    if models.policy.natural is not None:
        raise UserError("a natural step moves all weights of a small model; set natural=null or adapter=null")
    average = "the average of two adapters is none: the mean of B A is not the mean of B times that of A"
    if isinstance(models.reference_update, MovingAverage):
        raise UserError(f"{average}; set reference_update=hard_reset, or adapter=null")
    if models.teacher_rate:
        raise UserError(
            f"{average}, so a teacher cannot follow the policy; set teacher_rate=0 or adapter=null"
        )


def give_adapter(model: PreTrainedModel, setting: Adapter, seed: int, name: str) -> None:
    """The adapter of the policy: a new one, or the one that came with its folder."""
    if lora.has_adapter(model):
        check_continued(model, setting, name)
        return
    lora.attach(model, setting, seed, name)
    config: Any = model.peft_config
    folder = Path(str(model.name_or_path))
    here = name in BASES or Path(name).expanduser().exists()
    config[lora.NAME].base_model_name_or_path = str(folder.resolve()) if here else name


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
    return InProcessHost(placed, *writers_of(model, heads.get("reward"), tokenizer, saved_as))


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


def writers_of(
    model: PreTrainedModel,
    reward: torch.nn.Linear | None,
    tokenizer: PreTrainedTokenizerBase,
    saved_as: FileDtypes,
) -> tuple[dict[str, Export], Export | None]:
    """What writes the policy as a Hugging Face folder, and what writes it into a checkpoint where that
    differs: an adapter alone. A reward model is a whole classifier in its checkpoints too."""

    def whole(folder: Path) -> None:
        now = lora.merged_copy(model) if lora.has_adapter(model) else model
        if reward is None:
            export(now, tokenizer, folder, saved_as)
        else:
            export_reward_model(now, reward, tokenizer, folder)

    if reward is not None or not lora.has_adapter(model):
        return {"policy": whole}, None
    base_weights = fingerprint_of_base(model)

    def adapter(folder: Path) -> None:
        write(model, base_weights, folder, saved_as)
        tokenizer.save_pretrained(folder)

    return {"policy": whole}, adapter


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
    if setting == "auto" and lora.has_adapter(model):
        return FileDtypes(torch.float32)  # an adapter is small
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
        found["reference"] = kinds.scorer(reference_of(models, model), **settings)
    if critic is not None and critic.shared_trunk:
        head = critic_head(critic, model, seed)
        both = kinds.learner(model, policy.optimiser, heads={"value": head, **heads}, **settings)
        found |= {"policy": both, "critic": both}
    else:
        if critic is not None:  # with an adapter the trunk's frozen weights are the policy's
            value_model = ValueModel(lora.sharing_copy(model.base_model), critic_head(critic, model, seed))
            found["critic"] = kinds.learner(value_model, critic.optimiser, **settings)
        learner: Learner = kinds.learner(model, policy.optimiser, heads=heads, **settings)
        found["policy"] = learner if policy.natural is None else NaturalLearner(learner, policy.natural)
    if policy.adapter is not None and engine.dtype == "bfloat16" and kinds is HERE:
        lora.hold_in_bfloat16(model)
    return found


def reference_of(models: Models, model: PreTrainedModel) -> PreTrainedModel:
    """The policy as it is at the start. Beside a new adapter that is the policy's own weights without it, and
    beside one that has learned, or that replaces the reference's later, these and a copy of the adapter."""
    if not lora.has_adapter(model):
        return copy.deepcopy(model).requires_grad_(False)
    begun = any(bool(layer.lora_B[lora.NAME].weight.any()) for layer in lora.layers(model).values())
    follows = isinstance(models.reference_update, HardReset)
    found: PreTrainedModel = lora.sharing_copy(model) if begun or follows else lora.base_of(model)
    return found


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
