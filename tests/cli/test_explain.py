"""`menon explain`: the numbers are those worked out by hand."""

import dataclasses
import json

import pytest

from helpers import tiny_model
from menon.cli import main
from menon.recipes import recipe
from menon.recipes.derived import memory, shape_of, sizes


def test_sizes_of_a_step():
    """grpo on a laptop: 32 x 8 answers of 96 tokens, 30 steps of 2 updates; the second update is one behind."""
    found = sizes(recipe("grpo"))
    assert (found.answers, found.tokens_at_most, found.answers_per_update) == (256, 24_576, 128)
    assert (found.updates, found.lag) == (60, (0.5, 1))
    once = sizes(dataclasses.replace(recipe("grpo"), updates_per_step=8))
    assert once.lag == (3.5, 7)


def test_shape_is_read_without_the_weights(tmp_path):
    model = tiny_model("qwen2", hidden=16, layers=2, vocab=50)
    model.config.save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    assert shape is not None
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert (shape.layers, shape.hidden, shape.intermediate, shape.kv, shape.vocabulary) == (2, 16, 32, 8, 50)
    assert shape_of("nobody/has-this") is None


def test_memory_by_hand():
    """P numbers: 4 bytes each for weights and gradient, 8 for the moments. Activations: 2 layers * (8 * 16 + 4 * 32 + 2 * 8)
    numbers a token. Keys and values: 8 slots of 128 + 96 tokens, 2 * 2 * 8 numbers each."""
    config = dataclasses.replace(recipe("grpo"), prompts_per_step=2, samples_per_prompt=4, tokens_per_forward=100, slots=256)
    from menon.recipes.derived import Shape

    shape = Shape(parameters=1000, layers=2, hidden=16, intermediate=32, kv=8, vocabulary=50)
    assert memory(config, shape) == {
        "weights": 4000,
        "gradients": 4000,
        "optimiser": 8000,
        "activations": 4 * 2 * (8 * 16 + 4 * 32 + 2 * 8) * 100,
        "logits": 3 * 4 * 100 * 50,
        "keys and values": 4 * 8 * 224 * 32,
    }
    half = memory(dataclasses.replace(config, dtype="bfloat16", reference="frozen"), shape)
    assert (half["weights"], half["reference"], half["sampler's copy"]) == (4000, 4000, 2000)
    assert half["keys and values"] == 4 * 8 * 224 * 32  # the sampler's cache is wide
    assert half["activations"] == 2 * 2 * (8 * 16 + 4 * 32 + 2 * 8) * 100


def test_what_is_printed(capsys):
    assert main(["explain", "grpo", "updates_per_step=4", "threads=1"]) == 0
    text = capsys.readouterr().out
    assert "32 prompts x 8 samples = 256 answers" in text
    assert "64 answers, at most 6,144 tokens, learning rate 0.0003" in text
    assert "30 steps of 4 = 120 updates" in text
    assert "learned from 1.5 updates after it was written on average, 3 at most" in text
    assert "0.89 M parameters" in text


def test_published_sizes(capsys):
    assert main(["explain", "ppo", "scale=paper", "threads=1", "model=nobody/has-this"]) == 0
    text = capsys.readouterr().out
    assert "128 prompts x 64 samples = 8,192 answers" in text
    assert "nobody/has-this is not on this disk; name a local folder" in text
    assert main(["explain", "--resume", "x", "threads=1"]) == 2
    assert "without --resume" in capsys.readouterr().err


def test_a_settings_file_is_explained(tmp_path, capsys):
    (tmp_path / "small.yaml").write_text("prompts_per_step: 3\nsamples_per_prompt: 5\n")
    assert main(["explain", "grpo", str(tmp_path / "small.yaml"), "threads=1"]) == 0
    assert "3 prompts x 5 samples = 15 answers" in capsys.readouterr().out
    assert json.dumps(sorted(p.name for p in tmp_path.iterdir())) == '["small.yaml"]'


@pytest.mark.parametrize("word", ["stepz=3", "steps=0"])
def test_mistakes_are_those_of_train(word, capsys):
    assert main(["explain", "grpo", word, "threads=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_trees(capsys):
    """4 + 16 + 64 nodes; 4 and 16 of 8 tokens, and 64 of the 80 that are left."""
    assert main(["explain", "spo_tree"]) == 0
    assert "of at most 84 nodes and 5,280 tokens; at most 32 of its edges" in capsys.readouterr().out
