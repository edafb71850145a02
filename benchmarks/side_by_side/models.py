"""Model folders for measurements: the built-in base, and random ones of its kind in other sizes with its
tokenizer."""

from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from menon.base import WEIGHTS
from menon.engines.hf_models import export, quiet
from menon.prompts.tasks import ChainSum


def _shape(hidden: int, inner: int, layers: int, heads: int, head: int, kv_heads: int = 0) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads or heads,
        "head_dim": head,
    }


SIZES = {
    "0.8M": _shape(128, 384, 4, 4, 32),
    "4.8M": _shape(256, 704, 6, 4, 64),
    "25M": _shape(512, 1344, 8, 8, 64),
    "0.4B": _shape(1024, 3072, 28, 16, 128, 8),
}
"""Name -> shape. The smallest has the base's, the largest that of Qwen3-0.6B, whose vocabulary is the
rest."""

REAL = "135M"
"""The name of a real model in cases; its folder is given."""


def folder_of(model: str, real: str | None, folder: Path) -> str:
    """The folder of a case's model; one of random weights is written into `folder`."""
    if model == "base":
        return str(WEIGHTS)
    return str(real) if model == REAL else random_model(model, folder)


def random_model(size: str, folder: Path, context: int = 256) -> str:
    """A Qwen3 of that size with random weights, written to FOLDER/SIZE; the path."""
    path = folder / f"{size}-{context}"
    shape = SIZES[size]
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
        config = Qwen3Config(
            **shape,
            vocab_size=max(tokenizer.get_vocab().values()) + 1,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )
        torch.manual_seed(0)
        export(Qwen3ForCausalLM(config), tokenizer, path)
    return str(path)


def questions(count: int) -> list[dict[str, str]]:
    """Rows of the built-in task: question and answer."""
    return ChainSum().rows("train", count, seed=0)


def prompts(count: int, folder: str = str(WEIGHTS), length: int | None = None) -> tuple[tuple[int, ...], ...]:
    """[P] those questions as the tokenizer of a folder reads them; with `length`, so many tokens of one
    question after another, each prompt beginning with another one."""
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def read(row: dict[str, str]) -> list[int]:
        return list(tokenizer(row["question"], add_special_tokens=False)["input_ids"])

    if length is None:
        return tuple(tuple(read(row)) for row in questions(count))
    tokens = [read(row) for row in questions(count + length)]
    return tuple(tuple(list(chain(*tokens[first:]))[:length]) for first in range(count))
