"""How many tokens of a sequence a model reads in the same way, whatever its length and its neighbours, by its
configuration alone.

A log-prob must not depend on how long its sequence becomes or on what is computed beside it. Most models hold
this up to their context. Others change their attention at a certain length; up to it they are like any other.
`check_request` and `forward.run_trunk` refuse what is longer.
"""

from collections.abc import Iterator
from typing import Any

from menon.limit import Limit

CONTEXT = ("max_position_embeddings", "max_seq_len")
"""Keys of a configuration that name the context."""
WITHOUT_KEYS = ("moe", "mlp", "conv", "linear_attention")
"""Kinds of layers that keep no keys and values."""
CHANGING_ROPE = ("longrope", "dynamic")
"""Rotary frequencies that follow the longest sequence of a pass: all tokens of a pass, also the early ones,
have others once it exceeds the length that these models were first trained on."""
KINDS = ("layer_types", "attention_layers", "layers_block_type", "block_types")
"""Keys under which a configuration names the kind of each layer."""
BY_ROWS = {
    "sliding_window": ("sliding window", "sliding"),
    "sliding_window_size": ("sliding window", "sliding"),
    "window_size": ("sliding window", "local"),
    "attention_window_size": ("sliding window", "attention"),
    "local_attention_window_len": ("sliding window", ""),
    "keep_window_size": ("number of tokens that it attends to", ""),
    "index_topk": ("number of tokens that it attends to", ""),
    "attention_chunk_size": ("attention chunk", "chunked"),
}
"""Key -> what it is called, and what the name of a layer of this kind contains. A model's own pass over whole
sequences applies them; the sampler's mask of rows at different positions does not."""


def context_of(model: Any) -> Limit | None:
    """The most tokens of a sequence that a pass over whole sequences may have; None if the configuration does
    not say."""
    config = model.config.get_text_config()
    return min((*_context(config), *_rope(config)), default=None)


def rows_of(model: Any) -> Limit | None:
    """The most tokens of a sequence that is written row by row, one token at a time, beside others."""
    config = model.config.get_text_config()
    found = (*_context(config), *_rope(config), *_windows(config), *_temperature(config))
    return min(found, default=None)


def layers_of(config: Any) -> list[Any]:
    """The configuration of each layer, or a single one for all. Where they differ, `transformers` refuses to
    say of the whole what differs."""
    return list(config.per_layer_config) if getattr(config, "is_heterogeneous", False) else [config]


def kinds_of(config: Any) -> set[str]:
    """The kinds of the layers, such as full_attention; empty where the configuration names none."""
    return {kind for key in KINDS for kind in getattr(config, key, None) or () if isinstance(kind, str)}


def _context(config: Any) -> Iterator[Limit]:
    for key in CONTEXT:
        if size := getattr(config, key, None):
            yield Limit(size)


def _rope(config: Any) -> Iterator[Limit]:
    """`rope_parameters` are of all layers, or by the kind of layer."""
    given = getattr(config, "rope_parameters", None) or {}
    for rope in (given, *given.values()):
        if isinstance(rope, dict) and (kind := rope.get("rope_type")) in CHANGING_ROPE:
            first = rope.get("original_max_position_embeddings") if kind == "longrope" else None
            if size := first or getattr(config, "max_position_embeddings", None):
                yield Limit(size, f"length before {kind} scaling")


def _windows(config: Any) -> Iterator[Limit]:
    kinds = kinds_of(config)
    for layer in layers_of(config):
        for key, (what, part) in BY_ROWS.items():
            if (size := getattr(layer, key, None)) and (not kinds or any(part in kind for kind in kinds)):
                yield Limit(size, what)
        if blocks := getattr(layer, "index_topk_blocks", None):
            yield Limit(blocks * layer.index_block_size, "number of tokens that it attends to")


def _temperature(config: Any) -> Iterator[Limit]:
    """Llama 4 scales the queries of some layers by how many tokens the cache holds, which is one number for
    all rows."""
    if getattr(config, "attn_temperature_tuning", None) and getattr(config, "floor_scale", None):
        yield Limit(max(1, config.floor_scale - 1), "length before attention scaling")


def cache_per_token(model: Any) -> int:
    """How many numbers the keys and values of one token have, all layers together, by the model's
    configuration; 0 where it does not say."""
    config = model.config.get_text_config()
    count, layers = getattr(config, "num_hidden_layers", 0), layers_of(config)
    each = [_keys_and_values(layer) for layer in layers] * (count if len(layers) == 1 else 1)
    kinds = getattr(config, "layer_types", None) or [""] * count
    modes = getattr(config, "kv_sharing_modes", None) or [""] * count
    kept = [kind not in WITHOUT_KEYS and mode != "reuse" for kind, mode in zip(kinds, modes, strict=False)]
    return sum(numbers for numbers, keeps in zip(each, kept, strict=False) if keeps)


def _keys_and_values(layer: Any) -> int:
    """Numbers of one token's keys and values in a layer."""
    queries = getattr(layer, "num_attention_heads", None)
    heads = getattr(layer, "num_key_value_heads", None) or queries
    if not isinstance(queries, int) or not isinstance(heads, int) or not queries:
        return 0
    if getattr(layer, "kv_lora_rank", None):  # latent attention caches what keys and values are made from
        return int(layer.kv_lora_rank + layer.qk_rope_head_dim)
    return int(2 * heads * (getattr(layer, "head_dim", None) or layer.hidden_size // queries))
