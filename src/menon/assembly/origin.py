"""The fingerprints of what a run begins with; `record.origin` compares them when a run is resumed."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from torch.nn import Module
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.record.origin import canonical, digest, origin_of_prompts
from menon.sync.fingerprint import fingerprint
from menon.types import Prompt

VOLATILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
"""Entries of a model's configuration that do not change what it computes here."""


def origin_of_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Fingerprints of the weights as they were read (every bit, as after each publish), the configuration and
    the tokenizer."""
    config = {name: value for name, value in model.config.to_dict().items() if name not in VOLATILE}
    ends = getattr(model.generation_config, "eos_token_id", None)
    return {
        "weights": origin_of_weights(model),
        "config": digest([canonical(config), canonical(ends)]),
        "tokenizer": origin_of_tokenizer(tokenizer),
        "read_by": {name: metadata.version(name) for name in ("transformers", "tokenizers")},
    }


def origin_of_weights(model: Module) -> str:
    return fingerprint({name: weight.detach() for name, weight in model.named_parameters()})


def origin_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Of everything that decides which tokens a text becomes, and which text tokens become. The chat template
    is not in it: the rendered questions show what it does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    whole = canonical(tokenizer.get_vocab()) if backend is None else backend.to_str()
    return digest([whole, canonical(tokenizer.special_tokens_map), canonical(tokenizer.all_special_ids)])


def origin_of_run(
    of_model: Mapping[str, Any],
    prompts: Sequence[Prompt],
    heldout: Sequence[Prompt],
    reward_models: Mapping[str, str],
    reward: Any,
) -> dict[str, Any]:
    """Everything that a run begins with."""
    text = getattr(reward, "text", None)
    return {
        **of_model,
        "questions": origin_of_prompts(prompts),
        "heldout": origin_of_prompts(heldout),
        "reward_models": dict(reward_models),
        "judge_prompt": digest([text]) if isinstance(text, str) else None,
    }
