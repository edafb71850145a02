"""The recipe of a built-in base model: its sizes and how it is trained. Each kind of recipe has its own
corpus."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

from menon.base.tokenizer import END_ID, VOCABULARY, encode


@dataclass(frozen=True)
class ModelShape:
    """Sizes of the Qwen3-style model; 0.89 M parameters by default."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    head_size: int = 32
    feed_forward: int = 384
    context: int = 256
    rope_theta: float = 10_000.0

    def config(self) -> dict[str, object]:
        """Keyword arguments for `transformers.Qwen3Config`."""
        return {
            "vocab_size": VOCABULARY,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "intermediate_size": self.feed_forward,
            "max_position_embeddings": self.context,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "tie_word_embeddings": True,
            "eos_token_id": END_ID,
            "bos_token_id": None,
            "pad_token_id": END_ID + 1,
        }


@dataclass(frozen=True)
class Recipe(ABC):
    """Maximum likelihood on the responses of a generated corpus."""

    seed: int = 1
    """Seed of the corpus and of the first weights."""
    shape: ModelShape = field(default_factory=ModelShape)
    """Sizes of the model."""
    tokens_per_update: int = 2048
    """Tokens of prompts and responses in an update; an update is filled with whole documents."""
    updates: int = 2000
    """Optimiser steps."""
    peak_learning_rate: float = 3e-3
    """The rate after the warm-up."""
    warm_up: int = 150
    """Updates in which the learning rate rises linearly; then it falls by a cosine to a tenth of the peak."""
    weight_decay: float = 0.05
    """Decoupled from the gradient, as in AdamW."""

    @abstractmethod
    def documents(self) -> Iterator[tuple[str, str]]:
        """An endless stream of (prompt, response), the same for the same seed. It never repeats a stretch and
        holds no held-out question.

        The end-of-text token after each response is not part of the text.
        """


def batches(recipe: Recipe) -> Iterator[list[tuple[list[int], list[int]]]]:
    """The token lists (prompt, response with end-of-text) of each update, `recipe.updates` in all."""
    stream = recipe.documents()
    for _ in range(recipe.updates):
        batch: list[tuple[list[int], list[int]]] = []
        size = 0
        while size < recipe.tokens_per_update:
            prompt, response = next(stream)
            batch.append((encode(prompt), [*encode(response), END_ID]))
            size += len(batch[-1][0]) + len(batch[-1][1])
        yield batch
