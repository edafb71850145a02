"""A policy with a reward head, written as an ordinary sequence classifier of one label."""

import copy
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.engines.hf_models import export, in_a_sentence
from menon.engines.preference_model import head_of
from menon.errors import UserError


def check_classifier(model: PreTrainedModel, name: str) -> None:
    """UserError unless `transformers` has a sequence classifier on this model's trunk whose head is linear
    and reads the last token."""
    if type(model.config) not in transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise UserError(
            f"{name} is of type '{model.config.model_type}', for which transformers has no sequence "
            "classifier, so a reward model on it could not be read again; choose another model"
        )
    head_of(classifier_without_weights(model, None), name)


def classifier_without_weights(model: PreTrainedModel, padding: int | None) -> PreTrainedModel:
    """The classifier of one label for the model's configuration, its own weights on the meta device."""
    config = copy.deepcopy(model.config)
    config.num_labels, config.pad_token_id = 1, padding
    kind: Any = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    name = str(model.name_or_path)
    with torch.device("meta"), in_a_sentence(name, f"{name} cannot be a classifier", "choose another model"):
        found: PreTrainedModel = kind(config)
    return found


def reward_model_of(model: PreTrainedModel, head: nn.Linear, padding: int | None) -> PreTrainedModel:
    """The trunk and the head as one classifier; the head is its `score`."""
    classifier: Any = classifier_without_weights(model, padding)
    setattr(classifier, classifier.base_model_prefix, model.base_model)
    classifier.score = head
    classifier.name_or_path = model.name_or_path
    found: PreTrainedModel = classifier
    return found


def export_reward_model(
    model: PreTrainedModel, head: nn.Linear, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """A folder for `AutoModelForSequenceClassification`: the trunk, the head as `score`, and the tokenizer.
    The score of a text is that of its last token, which is an end-of-text token."""
    export(reward_model_of(model, head, tokenizer.pad_token_id), tokenizer, folder)
