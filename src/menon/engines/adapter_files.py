"""The folder of an adapter in peft's own format: adapter_config.json and adapter_model.safetensors."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from menon.engines import lora
from menon.engines.model_files import STATE, FileDtypes
from menon.engines.quantised import json_object
from menon.errors import UserError, first_line
from menon.sync.fingerprint import fingerprint
from menon.update.adapter import Adapter

CONFIG = "adapter_config.json"
"""The file by which peft describes an adapter."""
WEIGHTS = "adapter_model.safetensors"
BASE_WEIGHTS = "base_weights"
"""The entry of the weights' file that holds the fingerprint of the model that they were trained on."""
PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Beginnings of A and B that leave the model's own weights alone."""
OTHERS = (
    *("use_dora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save", "target_parameters"),
    *("trainable_token_indices", "layer_replication", "alora_invocation_tokens", "arrow_config"),
    *("kasa_config", "velora_config", "monteclora_config"),
)
"""Entries of a configuration that make an adapter more than A and B beside linear layers."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter alone."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def base_named_in(folder: Path, name: str) -> str:
    """The model that an adapter was made for. UserError: its files do not say."""
    base = json_object(folder / CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UserError(
            f"{name} is an adapter that does not say which model it is for; set base_model_name_or_path in "
            f"its {CONFIG}"
        )
    if Path(base).expanduser().is_absolute() and not Path(base).expanduser().is_dir():
        raise UserError(
            f"{name} is an adapter of {base}, which is not here; put the model there, or set "
            f"base_model_name_or_path in {folder / CONFIG} to where it is"
        )
    return base


def fingerprint_of_base(model: torch.nn.Module) -> str:
    """Of the weights as float32, whatever their dtype here, without an adapter that is in the model."""
    named = ((name, weight) for name, weight in model.named_parameters() if ".lora_" not in name)
    return fingerprint({name.replace(lora.INNER, "."): weight.detach().float() for name, weight in named})


def read_into(model: Any, folder: Path, name: str) -> None:
    """Puts the adapter of a folder into the model that it was made for, in place. UserError: it is of another
    kind, or for another model."""
    peft = lora.peft_library()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = peft.PeftConfig.from_pretrained(str(folder))
    except Exception as error:
        raise UserError(
            f"the {CONFIG} of {name} cannot be read ({first_line(error)}); get the adapter again"
        ) from error
    check_plain(config, name)
    given, trained_on = tensors_in(folder, name)
    base = config.base_model_name_or_path
    other = f"{name} was trained on another model than {base} is now"
    remedy = f"set base_model_name_or_path in {folder / CONFIG} to the model that it belongs to"
    if trained_on is not None and trained_on != fingerprint_of_base(model):
        raise UserError(f"{other} (its weights differ); {remedy}")
    config.lora_dropout, config.inference_mode = 0.0, False
    try:
        lora.inject(model, config)
    except Exception as error:
        raise UserError(f"{other} ({first_line(error)}); {remedy}") from error
    own = {key: weight for key, weight in lora.own_parameters(model).items() if ".lora_" in key}
    odd = sorted(own.keys() ^ given.keys()) or sorted(
        key for key in own if own[key].shape != given[key].shape
    )
    if odd:
        raise UserError(f"{other} ('{odd[0]}' does not fit); {remedy}")
    with torch.no_grad():
        for key, weight in own.items():
            weight.copy_(given[key])


def check_plain(config: Any, name: str) -> None:
    """UserError for an adapter that is more than two matrices beside each of some linear layers."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    found = [] if kind == "LORA" else [kind]
    found += [entry for entry in OTHERS if getattr(config, entry, None)]
    if getattr(config, "bias", "none") != "none":
        found.append(f"bias={config.bias}")
    if getattr(config, "init_lora_weights", True) not in PLAIN_STARTS:
        found.append(f"init_lora_weights={config.init_lora_weights}")
    if found:
        raise UserError(
            f"{name} is an adapter of another kind ({found[0]}) than the LoRA that is read here; merge it "
            "into its model (peft's merge_and_unload), and name the folder of the result"
        )


def tensors_in(folder: Path, name: str) -> tuple[dict[str, Tensor], str | None]:
    """The adapter's tensors, those that trained where the file rounds them, and the fingerprint of the model
    that they were trained on, if the file says it."""
    file, exact = folder / WEIGHTS, folder / STATE / "policy.safetensors"
    if not file.is_file():
        raise UserError(f"{name} has no {WEIGHTS}; get the adapter again, or save it with safetensors")
    try:
        with safe_open(file, framework="pt") as held:
            found = {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118
            trained_on = (held.metadata() or {}).get(BASE_WEIGHTS)
    except Exception as error:
        raise UserError(
            f"the {WEIGHTS} of {name} cannot be read ({first_line(error)}); get it again"
        ) from error
    if exact.is_file():
        with safe_open(exact, framework="pt") as kept:
            for key in found.keys() & set(kept.keys()):
                weight = kept.get_tensor(key)
                if torch.equal(weight.to(found[key].dtype), found[key]):  # else the file was changed since
                    found[key] = weight
    return found, trained_on


def check_continued(model: Any, setting: Adapter, name: str) -> None:
    """UserError where a run asks for another adapter than the one that its model's folder holds."""
    config = model.peft_config[lora.NAME]
    if setting.rank != config.r:
        raise UserError(
            f"adapter.rank is {setting.rank}, and the adapter in {name} has rank {config.r}; set "
            f"adapter.rank={config.r} to go on with it, or name its model"
        )
    if setting.alpha not in (Adapter.alpha, config.lora_alpha):
        raise UserError(
            f"adapter.alpha is {setting.alpha:g}, and the adapter in {name} has {config.lora_alpha:g}; leave "
            "adapter.alpha out to go on with it"
        )
    if setting.targets:
        raise UserError(
            f"adapter.targets chooses the layers of a new adapter, and {name} holds one already; leave it out"
        )


def write(
    model: Any,
    base_weights: str,
    folder: Path,
    dtypes: FileDtypes | None = None,
    whole: Callable[[Tensor], Tensor] = lora.as_it_is,
    writes: bool = True,
) -> None:
    """The adapter alone, for `PeftModel.from_pretrained(model, folder)`. `base_weights` is the fingerprint of
    the model that it is for. `dtypes`: those of the file; None: that of the adapter. `whole` brings together
    what is in parts on ranks, of which one `writes`."""
    found = {
        name: whole(tensor).cpu().to(tensor.dtype if dtypes is None else dtypes.of(name)).contiguous()
        for name, tensor in lora.adapter_tensors(model)
    }
    if not writes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_file(found, folder / WEIGHTS, {"format": "pt", BASE_WEIGHTS: base_weights})
    about = {**model.peft_config[lora.NAME].to_dict(), "inference_mode": True}
    about = {key: sorted(value) if isinstance(value, set) else value for key, value in about.items()}
    (folder / CONFIG).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")
