"""Loads causal LMs and tokenizers from local folders or the Hugging Face hub, and exports them to an
ordinary folder.  Loading prints nothing, and every fault of a folder becomes one sentence that says what to
change.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import utils as hub_bars
from huggingface_hub.utils import logging as hub_logging
from torch import nn
from transformers.utils import logging as hf_logging

from menon.engines import lora
from menon.engines.adapter_files import read_into
from menon.engines.model_files import FileDtypes
from menon.engines.model_folders import base_folder, folder_of
from menon.engines.quantised import json_object, refuse_quantised
from menon.engines.stored_models import restore_unrounded
from menon.engines.tokenizer_files import load_tokenizer
from menon.engines.weight_files import check_fits
from menon.errors import UserError, first_line

PROCESSORS = ("*processor*.json", "chat_template*")
"""Files by which images, sounds and chats become input of a model of several kinds of input. A checkpoint
carries them, because what loads such a model looks for them beside the weights."""


def load_policy(
    name_or_folder: str | os.PathLike, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    """A causal LM in eval mode and its tokenizer. Weights that train are loaded in fp32, whatever the file's
    dtype; from a checkpoint of a run, the weights that trained and not what its files round them to. Of an
    adapter's folder, the model that it makes."""
    model, tokenizer = load_with_adapter(name_or_folder, dtype, device)
    if lora.has_adapter(model):
        model = lora.merged_copy(model).requires_grad_(True)
    return model, tokenizer


def load_with_adapter(
    name_or_folder: str | os.PathLike, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    """The same, with the adapter of an adapter's folder still apart (`engines.lora`)."""
    name = str(name_or_folder)
    with quiet():
        folder = folder_of(name, adapters=True)
        whole = base_folder(folder, name)
        check_fits(whole, name, dtype, torch.device(device))
        model = _load_causal(whole, name, dtype).to(device)
        if whole != folder:
            read_into(model, folder, name)
    tokenizer = tokenizer_of(name)
    end_token_ids(model, tokenizer, name)
    most, vocabulary = max(tokenizer.get_vocab().values()), model.get_input_embeddings().num_embeddings
    if most >= vocabulary:
        raise UserError(
            f"the tokenizer of {name} makes token {most}, but the model knows {vocabulary}; pair it with "
            "its own tokenizer"
        )
    return model, tokenizer


def tokenizer_of(name: str) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of a model, or of the model that an adapter is for where it brings none."""
    with quiet():
        folder = folder_of(name, adapters=True)
        own = (folder / "tokenizer.json").is_file()
        return load_tokenizer(folder if own else base_folder(folder, name), name)


def export(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    folder: Path,
    dtypes: FileDtypes | None = None,
) -> None:
    """An ordinary Hugging Face folder: safetensors, config, tokenizer, generation config, and the files of a
    processor that lie where the model was loaded from. `dtypes`: those of the weights in the files; None: the
    model's own."""
    with quiet():
        model.save_pretrained(folder, state_dict=None if dtypes is None else _cast(model, dtypes))
    export_around(model, tokenizer, folder, dtypes)


def export_around(
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    folder: Path,
    dtypes: FileDtypes | None = None,
) -> None:
    """What an exported folder holds besides weights and configuration."""
    with quiet():
        tokenizer.save_pretrained(folder)
    if dtypes is not None:
        _name_dtype(folder / "config.json", dtypes.usual)
    mode = folder.stat().st_mode & 0o666
    for file in folder.glob("*.safetensors"):
        file.chmod(mode)  # safetensors makes files that only their owner can read
    start = Path(model.name_or_path) if model.name_or_path else folder
    for pattern in PROCESSORS:
        for file in start.glob(pattern):
            if file.is_file() and not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)


def _cast(model: nn.Module, dtypes: FileDtypes) -> dict[str, torch.Tensor]:
    """The weights in the dtypes of the files. Tied ones stay one tensor, by which the library knows them."""
    found: dict[str, torch.Tensor] = {}
    seen: dict[int, torch.Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            dtype = dtypes.of(name) if tensor.is_floating_point() else tensor.dtype
            seen[id(tensor)] = tensor.detach().to("cpu", dtype)
        found[name] = seen[id(tensor)]
    return found


def _name_dtype(config: Path, dtype: torch.dtype) -> None:
    """Says in a config.json which dtype the files have; the library writes that of the model in memory."""
    about, name = json.loads(config.read_text(encoding="utf-8")), str(dtype).removeprefix("torch.")
    for part in (about, *(value for value in about.values() if isinstance(value, dict))):
        if part is about or "dtype" in part:
            part["dtype"] = name
    config.write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def end_token_ids(model: Any, tokenizer: Any, name: str = "this model") -> tuple[int, ...]:
    """The tokens that end a text, the tokenizer's own first; from the tokenizer, the generation config and
    the config."""
    found: dict[int, None] = {}
    for holder in (tokenizer, getattr(model, "generation_config", None), model.config):
        ids = getattr(holder, "eos_token_id", None)
        for token in ids if isinstance(ids, (list, tuple)) else [ids]:
            if token is not None:
                found[int(token)] = None
    if not found:
        raise UserError(f"{name} names no end-of-text token; set eos_token in its tokenizer_config.json")
    vocabulary = model.get_input_embeddings().num_embeddings
    if beyond := [token for token in found if not 0 <= token < vocabulary]:
        raise UserError(
            f"{name} has end-of-text token {beyond[0]}, but its vocabulary ends at {vocabulary - 1}; fix "
            "eos_token"
        )
    return tuple(found)


def config_of(folder: Path, name: str) -> Any:
    """The configuration of a causal language model."""
    kind = json_object(folder / "config.json").get("model_type")
    if isinstance(kind, str) and kind not in transformers.CONFIG_MAPPING:
        raise UserError(
            f"{name} is of type '{kind}', which transformers {transformers.__version__} does not know; "
            "install a version that does, or choose another model"
        )
    with in_a_sentence(name, f"the config.json of {name} cannot be read", "get the model again"):
        # Code that comes with a model is never run.
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"{name} is of type '{config.model_type}', not a causal language model; choose one that is"
        )
    if any(kind.endswith("ForSequenceClassification") for kind in config.architectures or ()):
        raise UserError(
            f"{name} is a classifier ({config.architectures[0]}), which scores texts and writes "
            "none; choose a causal language model, or name the classifier as reward.model"
        )
    if any(kind.endswith("ForMaskedLM") for kind in config.architectures or ()):
        raise UserError(
            f"{name} is a masked language model ({config.architectures[0]}), which fills gaps and writes no "
            "text; choose a causal language model"
        )
    return config


def without_weights(folder: Path, name: str) -> Any:
    """The model of a folder on the meta device: its shapes, which take no memory."""
    refuse_quantised(folder, name)
    config = config_of(folder, name)
    with quiet(), torch.device("meta"), in_a_sentence(name, f"{name} cannot be built", "get the model again"):
        return transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def _load_causal(folder: Path, name: str, dtype: torch.dtype) -> Any:
    config = config_of(folder, name)
    kind: Any = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with in_a_sentence(name, f"the weights of {name} cannot be read", "get the model again"):
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            # Some families have no fused attention, because they cap its scores or add to their sum.
            attn_implementation="sdpa" if kind._supports_sdpa else "eager",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    model, report = loaded
    # The library would fill missing weights with random numbers without an error.
    wrong = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    made = (config.architectures or [""])[0]
    if wrong and made and "LM" not in made:
        raise UserError(f"{name} is a {made} and writes no text; choose a causal language model")
    if wrong:
        raise UserError(
            f"{name} lacks weights that its config.json asks for, such as {wrong[0]}; get the whole model "
            "again"
        )
    if left := layers_left_out(model, report["unexpected_keys"]):
        raise UserError(
            f"{name} has weights such as {left[0]}, of layers that its config.json leaves out; get the whole "
            "model again"
        )
    with in_a_sentence(name, f"the weights of {name} cannot be read", "get the model again"):
        restore_unrounded(model, folder)
    fault = f"{name} ({type(model).__name__}) does not run on a few tokens"
    with in_a_sentence(name, fault, "choose another model"):
        first, second = _around_a_change(model)
    if not bool(first.isfinite().all()):
        raise UserError(
            f"{name} computes numbers that are not finite from a few tokens; its weights are damaged, so get "
            "the model again"
        )
    if not torch.allclose(first, second, rtol=1e-3, atol=1e-4):
        raise UserError(
            f"{name} looks ahead: a later token changes earlier predictions; choose a causal language model"
        )
    return model.eval()


def layers_left_out(model: nn.Module, unused: Iterable[str]) -> list[str]:
    """Those of the unused weights that only the number of a layer tells from weights of the model. Others are
    of parts that a causal model does not have, such as one for images."""

    def without_numbers(key: str) -> str:
        return re.sub(r"\.\d+\.", ".N.", key)

    known = {without_numbers(key) for key in model.state_dict()}
    return sorted(key for key in unused if without_numbers(key) in known)


@contextmanager
def in_a_sentence(name: str, fault: str, remedy: str) -> Iterator[None]:
    """Any error of a library as a UserError."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{name} needs a package that is not installed ({first_line(error)}); install it"
        ) from error
    except Exception as error:
        raise UserError(f"{fault} ({first_line(error)}); {remedy}") from error


@torch.no_grad()
def _around_a_change(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits before two different third tokens, which are the same for a causal model. Encoders load as
    causal LMs without any warning, so this is tested."""
    device = next(model.parameters()).device
    first, second = (
        model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[:, :2].float()
        for ids in ([0, 1, 2], [0, 1, 3])
    )
    return first, second


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the libraries' progress bars and warnings; their settings are restored afterwards."""
    levels = [(library, library.get_verbosity()) for library in (hf_logging, hub_logging)]
    bars = [
        (hf_logging.enable_progress_bar, hf_logging.is_progress_bar_enabled()),
        (hub_bars.enable_progress_bars, not hub_bars.are_progress_bars_disabled()),
    ]
    for library, _ in levels:
        library.set_verbosity_error()
    hf_logging.disable_progress_bar()
    hub_bars.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for library, level in levels:
            library.set_verbosity(level)
        for enable, was_on in bars:
            if was_on:
                enable()
