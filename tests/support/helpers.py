"""Tiny random models, a tokenizer and prompts made in memory. Nothing here is downloaded or trained."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from menon.engines.decoder import Decoder
from menon.engines.decoding import cpu_step, decode_weights, decoder_slots
from menon.engines.decoding.decoder_slots import DecoderSlots
from menon.engines.llama_family import decoder_of
from menon.types import Prompt

Kind = Literal["qwen3", "llama", "qwen2", "gpt2"]
KINDS: tuple[Kind, ...] = ("qwen3", "llama", "qwen2", "gpt2")

END = "<|endoftext|>"
BYTES = 257
"""256 bytes and the end token, which is always the last one of a vocabulary."""

ALPHABET = "0123456789+-*/=., \nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ?!()<>:;"
"""Characters of a vocabulary smaller than `BYTES`, in the order of their tokens."""


def tiny_model(
    kind: Kind = "qwen3",
    seed: int = 0,
    vocab: int = BYTES,
    dtype: torch.dtype = torch.float32,
    *,
    hidden: int = 16,
    layers: int = 2,
    context: int = 128,
    tied: bool = True,
    spread: float = 0.3,
    **config: Any,
) -> PreTrainedModel:
    """A random causal LM in eval mode, without dropout. `spread` is the size of its weights: large enough for
    uneven distributions, so that a test can tell right log-probs from wrong ones. `config` goes to the
    model's own config."""
    shared = {
        "vocab_size": vocab,
        "bos_token_id": None,
        "eos_token_id": vocab - 1,
        "pad_token_id": None,
        "initializer_range": spread,
        "tie_word_embeddings": tied,
    }
    rotary = {
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
    }
    torch.manual_seed(seed)
    model: PreTrainedModel
    if kind == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**shared, **rotary | {"head_dim": hidden // 4} | config))
    elif kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shared, **rotary | config))
    elif kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**shared, **rotary | config))
    else:
        sizes = {"n_embd": hidden, "n_layer": layers, "n_head": 4, "n_positions": context}
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        model = GPT2LMHeadModel(GPT2Config(**shared, **sizes | no_dropout | config))
    return model.to(dtype).eval()


@cache
def tiny_tokenizer(vocab: int = BYTES) -> PreTrainedTokenizerFast:
    """One token per byte (`vocab=BYTES`: token i is byte i), or per character of `ALPHABET` (smaller); then
    `END`."""
    core = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(_letters(vocab - 1))}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, clean_up_tokenization_spaces=False)


def _letters(count: int) -> list[str]:
    """What byte-level tokenizers write for each byte: printable ones as they are, the others moved above
    U+0100."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    letters = [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]
    return letters if count == 256 else [letters[ord(character)] for character in ALPHABET[:count]]


def prompt(
    index: int, tokens: Sequence[int] | str, answer: str | None = None, vocab: int = BYTES, **columns: Any
) -> Prompt:
    """A prompt from tokens, or from text by `tiny_tokenizer(vocab)`."""
    tokenizer = tiny_tokenizer(vocab)
    ids = tokenizer.encode(tokens, add_special_tokens=False) if isinstance(tokens, str) else list(tokens)
    text = tokens if isinstance(tokens, str) else tokenizer.decode([i for i in ids if i < vocab])
    return Prompt(
        index=index, tokens=np.array(ids, dtype=np.int32), text=text, answer=answer, columns=columns
    )


def network_of(model: PreTrainedModel) -> Decoder:
    """Of a model of the Llama family."""
    decoder = decoder_of(model)
    assert decoder is not None
    return decoder


def without_kernels(monkeypatch: Any) -> None:
    """Decoding by PyTorch's operations alone, as on a GPU."""
    for module in (decoder_slots, decode_weights):
        monkeypatch.setattr(module, "has_kernels", lambda decoder: False)


def as_large(monkeypatch: Any) -> None:
    """Rows are divided between two threads, as in a model that is not small."""
    monkeypatch.setattr(cpu_step, "row_threads", lambda weights, rows: min(2, rows))
    monkeypatch.setattr(cpu_step, "DIVIDED", 0)


def slots_of(model: PreTrainedModel, slots: int = 16, fixed: bool = False) -> DecoderSlots:
    return DecoderSlots(network_of(model), slots, fixed)
