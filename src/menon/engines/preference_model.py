"""Scores of whole texts from a folder with a scalar head (`reward.preference.Score`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers

from menon.engines import hf_models
from menon.engines.limits import context_of
from menon.engines.model_folders import folder_of
from menon.engines.tokenizer_files import load_tokenizer
from menon.engines.tokens import marker_for, tokenize_with
from menon.engines.weight_files import check_fits
from menon.errors import UserError
from menon.foreign import Marker, marked_pieces


@dataclass(frozen=True)
class PreferenceModel:
    """Texts -> the scalar head's score of each at its last token (docs/numerics.md, 13.7), which is an
    end-of-text token: one is appended where the text has none. Padding stands on the right, where causal
    attention never looks. UserError for a text beyond `context`."""

    model: Any
    tokenizer: transformers.PreTrainedTokenizerBase
    context: int
    tokens_per_forward: int = 8192
    special: bool = True
    """Whether the tokenizer puts its special tokens in front of a text. A chat template has written those
    that it wants."""

    @cached_property
    def tokenize(self) -> Callable[..., Sequence[int]]:
        return tokenize_with(self.tokenizer)

    @cached_property
    def mark(self) -> Marker:
        return marker_for(self.tokenizer)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> list[float]:
        marked = [marked_pieces(text, self.mark) for text in texts]
        rows = [self._ended([*self.tokenize(text, special=self.special)]) for text in marked]
        scores = [0.0] * len(rows)
        for places in padded_passes([len(row) for row in rows], self.tokens_per_forward):
            width = max(len(rows[place]) for place in places)
            ids = torch.zeros(len(places), width, dtype=torch.int64)
            mask = torch.zeros(len(places), width, dtype=torch.int64)
            for i, place in enumerate(places):
                ids[i, : len(rows[place])] = torch.tensor(rows[place])
                mask[i, : len(rows[place])] = 1
            for place, score in zip(places, self._forward(ids, mask), strict=True):
                scores[place] = score
        return scores

    def _ended(self, tokens: list[int]) -> list[int]:
        end = self.tokenizer.eos_token_id
        if end is not None and tokens[-1:] != [end]:
            tokens.append(end)
        if len(tokens) > self.context:
            raise UserError(
                f"a text has {len(tokens)} tokens and the preference model reads {self.context}; lower "
                "max_new_tokens, or take a model with a longer context"
            )
        return tokens

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> list[float]:
        device = next(self.model.parameters()).device
        ids, mask = ids.to(device), mask.to(device)
        hidden = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        last = mask.sum(-1) - 1  # by length: an end token may also be the padding token
        at_last = hidden[torch.arange(len(ids), device=device), last]
        return head_of(self.model)(at_last)[:, 0].float().tolist()


def load_preference_model(
    name: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    special: bool = True,
) -> PreferenceModel:
    """A folder or a name on the hub with a sequence classifier of one label on a causal trunk, and its
    tokenizer. `special` is off for the prompts of a chat template."""
    with hf_models.quiet():
        folder = folder_of(name)
        check_fits(folder, name, dtype, torch.device(device))
        model = load_classifier(folder, name, dtype)
        tokenizer = load_tokenizer(folder, name)
    return PreferenceModel(model.to(device).eval(), tokenizer, context_of(model) or 2**31, special=special)


def load_classifier(folder: Path, name: str, dtype: torch.dtype) -> Any:
    with hf_models.in_a_sentence(name, f"the preference model {name} cannot be read", "get it again"):
        loaded: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    model, report = loaded
    wrong = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if wrong:
        raise UserError(
            f"{name} is no preference model: it lacks the weights {wrong[0]}; a language model alone has "
            "no scalar head"
        )
    if model.config.num_labels != 1:
        raise UserError(
            f"{name} has {model.config.num_labels} labels; a preference model has a scalar head, which is one"
        )
    head_of(model, name)
    return model


def head_of(model: Any, name: str = "this model") -> Callable[[torch.Tensor], torch.Tensor]:
    head = getattr(model, "score", None)
    if not isinstance(head, torch.nn.Linear):
        raise UserError(
            f"{name} ({type(model).__name__}) has no linear head 'score' on its last token; take one of a "
            "causal family"
        )
    return head


def padded_passes(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices of the texts of each forward pass, in order of length: at most `most` padded tokens each (or a
    single text)."""
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if not found or lengths[place] * (len(found[-1]) + 1) > most:
            found.append([])
        found[-1].append(place)
    return found
