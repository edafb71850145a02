"""Scores from a folder with a scalar head."""

from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from helpers import BYTES, tiny_model, tiny_tokenizer
from menon.engines.hf_models import export
from menon.engines.preference_model import load_preference_model, padded_passes
from menon.errors import UserError
from menon.reward.code.signatures import Asked
from menon.reward.preference import Preference


def classifier(labels: int = 1, **config) -> Qwen3ForSequenceClassification:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    sizes |= {
        "head_dim": 4,
        "vocab_size": BYTES,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "num_labels": labels,
    }
    return Qwen3ForSequenceClassification(
        Qwen3Config(**sizes, pad_token_id=BYTES - 1, eos_token_id=BYTES - 1, **config)
    ).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("preference")
    export(classifier(), tiny_tokenizer(), path)
    return path


def alone(model, text: str) -> float:
    """The head at the appended end token, one text at a time."""
    tokens = [*text.encode(), BYTES - 1]
    with torch.no_grad():
        hidden = model.base_model(torch.tensor([tokens]))[0]
        return float(model.score(hidden[0, -1])[0])


TEXTS = ["good", "a much longer text than the others", "x", "good again"]


@pytest.mark.parametrize("tokens_per_forward", [8192, 12])
def test_scores_are_those_of_each_text_alone(folder, tokens_per_forward):
    loaded = load_preference_model(str(folder))
    model = type(loaded)(loaded.model, loaded.tokenizer, loaded.context, tokens_per_forward)
    expected = [alone(classifier(), text) for text in TEXTS]
    assert model(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1
    assert model([]) == []


def test_a_text_may_not_change_the_scores_of_its_neighbours(tmp_path):
    """Beyond 24 tokens longrope would turn the frequencies of all texts of a pass."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 2, "long_factor": [4.0] * 2}
    rope |= {"original_max_position_embeddings": 24}
    export(classifier(rope_parameters=rope), tiny_tokenizer(), tmp_path)
    model = load_preference_model(str(tmp_path))
    assert model(["x" * 23, "y"])[1] == pytest.approx(model(["y"])[0], abs=1e-5)
    with pytest.raises(UserError, match="a text has 25 tokens and the preference model reads 24"):
        model(["x" * 24, "y"])


def test_an_end_that_is_there_is_not_doubled(folder):
    model = load_preference_model(str(folder))
    assert model(["good<|endoftext|>", "good"]) == pytest.approx([alone(classifier(), "good")] * 2, abs=1e-5)


def test_as_a_reward(folder):
    model = load_preference_model(str(folder))
    raw = alone(classifier(), "p:good")
    reward = Preference(model, mean=raw - 1, std=0.5)
    (verdict,) = reward.many([Asked("p:", "good", None)])
    assert verdict.score == pytest.approx(2, abs=1e-4)
    (long,) = reward.many([Asked("p:", "y" * 100, None)])
    assert "has 103 tokens and the preference model reads 64" in long.error


def test_folders_that_are_no_preference_model(tmp_path):
    export(tiny_model(), tiny_tokenizer(), tmp_path / "lm")
    with pytest.raises(
        UserError,
        match=r"lacks the weights score\.weight; a language model alone has no scalar head",
    ):
        load_preference_model(str(tmp_path / "lm"))
    export(classifier(labels=3), tiny_tokenizer(), tmp_path / "three")
    with pytest.raises(UserError, match="three has 3 labels; a preference model has a scalar head"):
        load_preference_model(str(tmp_path / "three"))
    with pytest.raises(UserError, match="there is no folder"):
        load_preference_model(str(tmp_path / "none"))


def test_passes():
    assert padded_passes([3, 1, 2, 9, 3], 6) == [[1, 2], [0, 4], [3]]
    assert padded_passes([], 5) == []
