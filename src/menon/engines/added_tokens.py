"""Tokens that a vocabulary lacks, and rows of the embeddings for them."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.engines.hf_models import quiet
from menon.errors import UserError

PAD = "<|pad|>"


def add_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str], name: str
) -> None:
    """Adds special tokens, each of which is one token wherever it stands in a text. Its rows of the input and
    output embeddings are the mean of those of the tokens that were there.

    UserError for a token that the vocabulary of `name` has already.
    """
    known = tokenizer.get_vocab()
    if there := [token for token in tokens if token in known]:
        raise UserError(
            f"'{there[0]}' is a token of {name} already; leave it out of add_tokens, which adds those that "
            "the vocabulary lacks"
        )
    if not tokens:
        return
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens], True)
    found = tokenizer.get_vocab()
    start_at_the_mean(model, sorted(known.values()), [found[token] for token in tokens])


@torch.no_grad()
def start_at_the_mean(model: PreTrainedModel, known: Sequence[int], new: Sequence[int]) -> None:
    """Sets the rows `new` of the embeddings to the mean of the rows `known`. The embeddings grow if they end
    before them; many have spare rows."""
    embeddings: Any = model.get_input_embeddings()
    if max(new) >= embeddings.num_embeddings:
        with quiet():
            model.resize_token_embeddings(max(new) + 1, mean_resizing=False)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        for rows in (getattr(layer, "weight", None), getattr(layer, "bias", None)):
            if rows is not None:
                rows[list(new)] = rows[list(known)].mean(0)


def add_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ends: Sequence[int]) -> None:
    """Gives the tokenizer a padding token that ends no text. A classifier of `transformers` finds the end of
    a text by the padding after it, so it would take an end token of the text for padding."""
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in ends:
        return
    if PAD not in tokenizer.get_vocab():
        add_tokens(model, tokenizer, (PAD,), "the model")
    tokenizer.pad_token = PAD
