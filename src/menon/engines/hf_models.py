"""Loads causal LMs, critics and tokenizers from local folders or the Hugging Face hub, and exports them to an
ordinary folder.  Loading prints nothing, and every fault of a folder becomes one sentence that says what to
change.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from huggingface_hub import utils as hub_bars
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging as hf_logging

from menon.engines.forward import ValueInit, ValueModel, value_head
from menon.engines.tokenizer_files import load_tokenizer
from menon.errors import UserError, first_line


def load_policy(
    name_or_folder: str | os.PathLike, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    """A causal LM in eval mode and its tokenizer. Weights that train are loaded in fp32, whatever the file's
    dtype."""
    name = str(name_or_folder)
    with quiet():
        folder = folder_of(name)
        model = _load_causal(folder, name, dtype).to(device)
        tokenizer = load_tokenizer(folder, name)
    end_token_ids(model, tokenizer, name)
    most, vocabulary = max(tokenizer.get_vocab().values()), model.get_input_embeddings().num_embeddings
    if most >= vocabulary:
        raise UserError(
            f"the tokenizer of {name} makes token {most}, but the model knows {vocabulary}; pair it with "
            "its own tokenizer"
        )
    return model, tokenizer


def load_value_model(
    name_or_folder: str | os.PathLike,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    init: ValueInit = "zero",
    seed: int = 0,
) -> ValueModel:
    """A critic: the trunk of a causal LM with a fresh head (see `forward.value_head`)."""
    with quiet():
        name = str(name_or_folder)
        trunk = _load_causal(folder_of(name), name, dtype).base_model
    return ValueModel(trunk, value_head(trunk.config.hidden_size, init, seed).to(dtype)).to(device)


def export(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, folder: Path
) -> None:
    """An ordinary Hugging Face folder: safetensors, config, tokenizer, generation config."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


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


def folder_of(name: str) -> Path:
    """The folder of a model. A path must be a model folder; any other name is looked up on the hub and is
    downloaded, or found in the hub's cache."""
    folder = Path(name).expanduser()
    if folder.is_file():
        raise UserError(f"{name} is a file; name the model's folder")
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
            raise UserError(
                f"there is no folder {name}; name a model folder, or a model on the Hugging Face hub"
            )
        folder = _download(name)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{name} is not a model folder: it has no config.json; name the folder that save_pretrained wrote"
        )
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{name} has no weights (*.safetensors); get them, or save the model again with safetensors"
        )
    return folder


def _download(name: str) -> Path:
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
            )
        )
    except Exception as error:
        reason = first_line(error)
        raise UserError(
            f"{name} is no folder here, and the Hugging Face hub did not give it ({reason}); name a local "
            "folder"
        ) from error


def _load_causal(folder: Path, name: str, dtype: torch.dtype) -> Any:
    try:
        # Code that comes with a model is never run.
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise UserError(
            f"the config.json of {name} cannot be read ({first_line(error)}); get the model again"
        ) from error
    if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"{name} is of type '{config.model_type}', not a causal language model; choose one that is"
        )
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"the weights of {name} cannot be read ({first_line(error)}); get the model again"
        ) from error
    model, report = loaded
    # The library would fill missing weights with random numbers without an error.
    wrong = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if wrong:
        raise UserError(
            f"{name} lacks weights that its config.json asks for, such as {wrong[0]}; get the whole model "
            "again"
        )
    if not _is_causal(model):
        raise UserError(
            f"{name} looks ahead: a later token changes earlier predictions; choose a causal language model"
        )
    return model.eval()


@torch.no_grad()
def _is_causal(model: nn.Module) -> bool:
    """Whether the last token leaves the earlier predictions unchanged. Encoders load as causal LMs without
    any warning, so this is tested."""
    device = next(model.parameters()).device
    first, second = (
        model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits
        for ids in ([0, 1, 2], [0, 1, 3])
    )
    return torch.allclose(first[:, :2].float(), second[:, :2].float(), rtol=1e-3, atol=1e-4)


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


def cache_per_token(model: transformers.PreTrainedModel) -> int:
    """How many numbers the keys and values of one token have in all layers; 0 where the configuration does
    not say."""
    config: Any = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", 0)
    width = getattr(config, "head_dim", None) or config.hidden_size // max(
        1, getattr(config, "num_attention_heads", 0)
    )
    return int(2 * config.num_hidden_layers * heads * width)
