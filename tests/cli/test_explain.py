"""`menon explain`: the numbers are those worked out by hand."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from transformers import Gemma4Config

from helpers import tiny_model
from menon.assembly import before
from menon.assembly.derived import ModelSize, num_workers, size_of_model, sizes, tokens_per_pass
from menon.assembly.memory import Needs, own_process, processes
from menon.assembly.run import configured
from menon.assembly.sampler_memory import VLLM_LIBRARIES, of_vllm
from menon.cli import explain as explaining
from menon.cli import main
from menon.cli.command import asked_by
from menon.cli.explain import off_policy
from menon.config import RunConfig, changed, setup_of
from menon.engine_settings import VLLM, Engine
from menon.errors import UserError
from menon.recipes import RECIPES, published, recipe
from menon.settings import read_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_sizes_of_a_step():
    """grpo on a laptop: 32 x 8 answers of 96 tokens, 30 steps of 2 updates; the second update is one
    behind."""
    found = sizes(recipe("grpo"))
    assert (found.step.answers, found.step.tokens, found.per_update) == (256, 24_576, 128)
    assert (found.updates, found.lag) == (60, 1)
    assert sizes(changed(recipe("grpo"), {"updates_per_step": 8})).lag == 7
    stale = sizes(changed(recipe("grpo"), {"updates_per_step": 2, "staleness": 3}))
    assert off_policy(stale) == "an answer is learned from at most 7 updates late (staleness=3)"


def test_sizes_of_trees():
    """8 trees of 4-4-4 with 8 tokens on the two upper levels and 80 on the last: 4 * 8 + 16 * 8 + 64 * 80
    tokens each. 256 edges a step in 2 updates; one that waits 7 steps is learned from by the 16th update that
    follows, which is 15 behind."""
    found = sizes(recipe("spo_tree"))
    assert (found.step.answers, found.step.tokens, found.per_update) == (8 * 64, 8 * 5280, 128)
    assert (found.updates, found.lag) == (60, 15)
    unbounded = changed(recipe("spo_tree"), {"rollout.edges_per_step": 0, "rollout.max_age": 2})
    assert (sizes(unbounded).per_update, sizes(unbounded).lag) == (8 * 32 * 2 / 2, 3)


def test_memory_of_trees():
    """Their keys and values: those of 128 + 5280 distinct tokens, and 25 bytes for each of 84 nodes' 224
    tokens; 256 slots."""
    shape = ModelSize(parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50)
    cached = 4 * 2 * 2 * 8
    assert (
        own_process(Needs.of(recipe("spo_tree")), shape)["keys and values"]
        == 8 * (5408 * cached + 84 * 224 * 25) + 256 * 224 * cached
    )


def test_shape_is_read_without_the_weights(tmp_path):
    model = tiny_model("qwen2", hidden=16, layers=2, vocab=50)
    model.config.save_pretrained(tmp_path)
    shape = size_of_model(str(tmp_path))
    assert shape is not None
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert (shape.layers, shape.hidden, shape.intermediate, shape.kv, shape.vocabulary) == (
        2,
        16,
        32,
        2 * 2 * 8,
        50,
    )
    assert (shape.family, shape.copied) == (True, 2 * (2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 32) + 50 * 16)
    assert size_of_model("nobody/has-this") is None
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    model.config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="are quantised"):
        size_of_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.json of .* cannot be read"):
        size_of_model(str(tmp_path))


def test_layers_that_differ(tmp_path):
    """Gemma 4 has wider heads in its global layers, and the text model is a part of the configuration."""
    kinds = ["sliding_attention", "full_attention"]
    text = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "global_head_dim": 16,
        "layer_types": kinds,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 40,
        "num_kv_shared_layers": 0,
    }
    Gemma4Config(text_config=text).save_pretrained(tmp_path)
    shape = size_of_model(str(tmp_path))
    assert shape is not None
    assert (shape.layers, shape.hidden, shape.intermediate, shape.kv) == (2, 32, 48, 2 * 2 * (8 + 16))


def test_memory_by_hand():
    """P numbers: 4 bytes each for weights and gradient, 8 for the moments. Activations: 2 layers * (8 * 16 +
    4 * 32 + 2 * 8) numbers a token, 500 tokens. Keys and values: 8 slots of 128 + 96 tokens, 2 * 2 * 8
    numbers each."""
    config = changed(
        recipe("grpo"),
        {"prompts_per_step": 2, "samples_per_prompt": 4, "tokens_per_forward": 500, "slots": 256},
    )
    shape = ModelSize(parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50)
    assert own_process(Needs.of(config), shape) == {
        "weights": 4000,
        "gradients": 4000,
        "optimiser": 8000,
        "activations": 4 * 2 * (8 * 16 + 4 * 32 + 2 * 8) * 500,
        "logits": 3 * 4 * 500 * 50,
        "keys and values": 4 * 8 * 224 * 32,
        "libraries": 2**29,
    }
    half = own_process(Needs.of(changed(config, {"dtype": "bfloat16", "reference": "frozen"})), shape)
    assert (half["weights"], half["reference"], half["sampler's copies"]) == (4000, 4000, 2000)
    assert half["keys and values"] == 4 * 8 * 224 * 32  # the sampler's cache is wide
    narrow = 2 * 2 * (8 * 16 + 4 * 32 + 2 * 8) * 500
    assert (
        half["activations"] == narrow + 2 * 2 * 2 * (16 + 8) * 500
    )  # of attention twice as much: it is in fp32 on a CPU
    on_gpu = own_process(Needs.of(changed(config, {"dtype": "bfloat16", "device": "cuda"})), shape)
    assert on_gpu["activations"] == narrow


def test_memory_of_vllm_in_place_of_the_built_in_sampler(monkeypatch):
    """1000 weights of 4 bytes, keys and values by the setting, the files of weights on their way. By default
    a quarter of what is free beside the weights, at most 8 GiB."""
    shape = ModelSize(parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50)
    own = {"prompts_per_step": 2, "samples_per_prompt": 4, "device": "cpu", "reference": "frozen"}
    config = changed(recipe("grpo"), own)
    there = {"sampler": {"kind": "vllm", "python": "p", "cache_gib": 0.5}}
    learner, vllm = processes(Needs.of(changed(config, there)), shape)
    of_learner = {
        name: size for name, size in own_process(Needs.of(config), shape).items() if name != "keys and values"
    }  # float32 on a CPU: the built-in sampler has no copies
    assert learner.parts == of_learner
    assert (vllm.name, vllm.parts) == (
        "vLLM",
        {
            "vLLM's weights": 4000,
            "vLLM's cache": 2**29,
            "vLLM's libraries": VLLM_LIBRARIES,
            "weights on the way": 4000,
        },
    )
    learner, vllm = processes(Needs.of(changed(config, there, {"dtype": "bfloat16"})), shape)
    assert vllm.parts["vLLM's weights"] == 2000
    assert "sampler's copies" not in learner.parts
    monkeypatch.setattr("menon.assembly.sampler_memory.free_bytes", lambda device: 4_004_000)
    free = {"sampler": {"kind": "vllm", "python": "p"}}
    assert processes(Needs.of(changed(config, free)), shape)[1].parts["vLLM's cache"] == 1_000_000
    server = {"sampler": {"kind": "vllm", "server": "http://x"}}
    learner, there_too = processes(Needs.of(changed(config, server)), shape)
    assert (learner.parts, there_too.parts) == (of_learner, {"weights on the way": 4000})


def test_files_of_weights_on_their_way_are_two_pieces():
    """Two of 64 MiB, or a larger tensor in place of one of them; of a folder the whole model."""

    def on_the_way(parameters, largest, **more):
        return of_vllm(Engine(sampler=VLLM(python="p", **more)), parameters, largest)["weights on the way"]

    assert on_the_way(10**9, 10**6) == 2 * 2**26
    assert on_the_way(10**9, 10**8) == 2**26 + 4 * 10**8
    assert on_the_way(10**9, 10**8, weights="file") == 4 * 10**9
    assert on_the_way(10**9, 10**8, weights="broadcast") == 0


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, 4 * 224),  # an update has 4 answers of 96 tokens after prompts of 128
        ({"updates_per_step": 1}, 8 * 224),
        ({"updates_per_step": 8}, 224),
        ({"tokens_per_forward": 500}, 500),
        ({"tokens_per_forward": 100}, 224),  # an answer is never cut
        ({"max_new_tokens": 1000}, 4 * 1128),
    ],
)
def test_activations_are_those_of_an_update_at_most(changes, tokens):
    config = changed(recipe("grpo"), {"prompts_per_step": 2, "samples_per_prompt": 4, **changes})
    shape = ModelSize(parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50)
    assert own_process(Needs.of(config), shape)["activations"] == 4 * 2 * (8 * 16 + 4 * 32 + 2 * 8) * tokens


def test_a_critic_in_fewer_updates_holds_more():
    shape = ModelSize(parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50)
    small = {"prompts_per_step": 2, "samples_per_prompt": 4, "updates_per_step": 4}
    config = changed(recipe("ppo"), {**small, "critic.updates_per_step": 2})
    assert own_process(Needs.of(config), shape)["activations"] == 4 * 2 * (8 * 16 + 4 * 32 + 2 * 8) * 4 * 224


def test_memory_with_parallel_passes(monkeypatch):
    """Three threads. Beside the gradient that is kept, four of passes: three that run and one that is added.
    Three samplers have copies of 300 numbers each; two of them are processes of 190 MiB. Tokens and slots are
    shared."""
    config = changed(
        recipe("grpo"),
        {"prompts_per_step": 2, "samples_per_prompt": 4, "tokens_per_forward": 100, "device": "cpu"},
    )
    shape = ModelSize(
        parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50, family=True, copied=300
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = own_process(Needs.of(config), shape)
    assert (num_workers(config.engine, shape), alone["gradients"], alone["sampler's copies"]) == (
        1,
        4000,
        1200,
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    apart = own_process(Needs.of(config), shape)
    assert (num_workers(config.engine, shape), apart["gradients"], apart["sampler's copies"]) == (
        3,
        20_000,
        3600,
    )
    assert apart["libraries"] == 2**29 + 2 * 190 * 2**20
    assert all(
        apart[name] == alone[name]
        for name in ("weights", "optimiser", "activations", "logits", "keys and values")
    )
    half = own_process(Needs.of(changed(config, {"dtype": "bfloat16"})), shape)
    assert half["sampler's copies"] == 2 * 1000 + 3 * 2 * 300
    assert (
        half["keys and values"] == alone["keys and values"] / 2
    )  # a small model's cache on a CPU has the dtype of its weights


def test_memory_of_a_large_model_is_that_of_writing_or_of_learning():
    """Passes of 512 tokens, each with 8 * 16 + 2 * 32 numbers a layer and 3 * 32 of keys and values, and one
    copy of their logits; or packed copies of the matrices and keys and values of 8 slots, where those are
    larger. In bfloat16 both gate and its product are kept too."""
    config = changed(
        recipe("grpo"),
        {"prompts_per_step": 2, "samples_per_prompt": 4, "device": "cpu", "max_new_tokens": 96},
    )
    parameters = 2**26 + 1
    sizes_of = {"layers": 2, "hidden": 16, "intermediate": 32, "kv": 32, "vocabulary": 50, "family": True}
    shape = ModelSize(parameters=parameters, **sizes_of, copied=300)
    found = own_process(Needs.of(config), shape)
    assert found == {
        "weights": 4 * parameters,
        "gradients": 4 * parameters,
        "optimiser": 8 * parameters,
        "activations": 4 * (2 * (8 * 16 + 2 * 32) + 3 * 32) * 512,
        "logits": 4 * 512 * 50,
        "libraries": 2**29,
    }
    writing = own_process(Needs.of(config), dataclasses.replace(shape, copied=2**27))
    assert not {"gradients", "activations", "logits"} & writing.keys()
    assert writing["sampler's copies"] == 4 * 2**27
    assert writing["keys and values"] == 4 * 8 * 224 * 32
    half = own_process(Needs.of(changed(config, {"dtype": "bfloat16"})), shape)
    assert half["sampler's copies"] == 2 * parameters
    assert half["activations"] == (2 * (2 * (8 * 16 + 4 * 32) + 3 * 32) + 2 * (2 * 2 * 16 + 32)) * 512
    other = own_process(Needs.of(config), dataclasses.replace(shape, family=False))
    assert other["activations"] == 4 * (2 * (8 * 16 + 4 * 32) + 32) * 896


def test_how_many_workers(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    config = changed(recipe("grpo"), {"device": "cpu"})
    small = ModelSize(
        parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50, family=True
    )
    assert num_workers(config.engine, small) == 3
    assert num_workers(changed(config, {"device": "cuda"}).engine, small) == 1
    assert num_workers(config.engine, dataclasses.replace(small, family=False)) == 1
    assert num_workers(config.engine, dataclasses.replace(small, parameters=2**26 + 1)) == 1
    assert num_workers(config.engine, None) == 1


def test_tokens_of_a_pass():
    """Of an update of 6,144 or 24,576 tokens at 8,192 a forward pass."""
    engine = recipe("grpo").engine
    assert [tokens_per_pass(engine, 24_576, workers) for workers in (1, 2, 3)] == [8192, 4096, 2730]
    assert [tokens_per_pass(engine, 6144, workers) for workers in (1, 2)] == [8192, 3072]
    large = ModelSize(2**26 + 1, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50, family=True)
    on_cpu = changed(recipe("grpo"), {"device": "cpu"}).engine
    assert tokens_per_pass(on_cpu, 6144, 1, large) == 512
    assert tokens_per_pass(dataclasses.replace(on_cpu, tokens_per_forward=100), 6144, 1, large) == 100


def test_what_is_printed(capsys):
    assert main(["explain", "grpo", "updates_per_step=4", "threads=1"]) == 0
    text = capsys.readouterr().out
    assert "32 prompts x 8 samples = 256 answers" in text
    assert "64 answers, at most 6,144 tokens, learning rate 0.0003" in text
    assert "30 steps of 4 = 120 updates" in text
    assert "learned from 1.5 updates late on average, 3 at most" in text
    assert "1 forward pass of 8,192 tokens" in text
    assert "0.89 M parameters" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_two_threads_do(capsys, monkeypatch):
    """`threads=2` would set torch's own for the tests that follow."""
    monkeypatch.setattr(explaining, "use", lambda chosen, device: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert main(["explain", "grpo", "threads=2", "device=cpu"]) == 0
    text = capsys.readouterr().out
    assert "3 forward passes of 4,096 tokens" in text
    assert "2 processes write answers, 2 passes run in parallel" in text
    assert f"{(2**29 + 190 * 2**20) / 2**30:.3f} GiB" in text
    assert max(map(len, text.splitlines())) <= 80


def test_published_sizes(capsys):
    assert main(["explain", "ppo", "scale=paper", "threads=1", "model=nobody/has-this"]) == 0
    text = capsys.readouterr().out
    assert "128 prompts x 64 samples = 8,192 answers" in text
    assert "nobody/has-this is not on this disk; name a local folder" in text
    assert main(["explain", "--resume", "x", "threads=1"]) == 2
    assert "without --resume" in capsys.readouterr().err


def test_what_this_machine_cannot_hold(tmp_path, monkeypatch, capsys):
    """It is the sentence with which `menon train` refuses; the rest is explained all the same."""
    words = ["explain", "grpo", f"model={tmp_path}", "max_new_tokens=16", "threads=1"]
    tiny_model().config.save_pretrained(tmp_path)
    assert main(words) == 0
    assert "here:" not in capsys.readouterr().out
    monkeypatch.setattr(before, "free_bytes", lambda device: 1)
    assert main(words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "here: this run needs at least" in text
    assert "take a model of at most" in text


def test_what_is_there_and_no_model(tmp_path, capsys):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert main(["explain", "grpo", f"model={tmp_path / 'model.gguf'}", "threads=1"]) == 2
    assert "is of the format GGUF, which cannot be trained" in capsys.readouterr().err


def test_a_settings_file_is_explained(tmp_path, capsys):
    (tmp_path / "small.yaml").write_text("prompts_per_step: 3\nsamples_per_prompt: 5\n")
    assert main(["explain", "grpo", str(tmp_path / "small.yaml"), "threads=1"]) == 0
    assert "3 prompts x 5 samples = 15 answers" in capsys.readouterr().out
    assert json.dumps(sorted(p.name for p in tmp_path.iterdir())) == '["small.yaml"]'


@pytest.mark.parametrize("word", ["stepz=3", "steps=0"])
def test_mistakes_are_those_of_train(word, capsys):
    assert main(["explain", "grpo", word, "threads=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("dapo", "and more, to replace groups without signal"),
        ("remax", "and a greedy answer to each prompt"),
        ("vineppo", "and 9 continuations from where each segment begins"),
        ("grpo", None),
    ],
)
def test_what_is_written_beside(recipe, more, capsys):
    assert main(["explain", recipe, "threads=1"]) == 0
    lines = capsys.readouterr().out.partition("\n  a step ")[2].splitlines()
    found = [line.strip() for line in lines if line.strip().startswith("and ")]
    assert found == ([more] if more else [])


def test_trees(capsys):
    assert main(["explain", "spo_tree", "threads=1"]) == 0
    text = capsys.readouterr().out.partition("\n  a step ")[2]
    assert "8 trees of 4-4-4, each of at most 5,280 tokens" in text
    assert "edges may wait, and are learned from at most 15 updates late" in text
    assert "samples" not in text


# Formula and parts


@pytest.mark.parametrize("name", RECIPES)
def test_every_part_of_a_recipe_is_explained(name, capsys):
    """With the first sentence of its docstring, its settings, and its page."""
    assert main(["explain", name, "threads=1"]) == 0
    text = capsys.readouterr().out.partition("\n  a step ")[0]
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for place, part in setup_of(recipe(name)).parts():
        assert f"{place} = {part.kind} " in flat
        assert " ".join(type(part).__doc__.split("\n\n")[0].split()).split(". ")[0].rstrip(".") in flat
        for field in dataclasses.fields(part):
            assert field.name == "kind" or not field.init or f"{field.name}=" in flat
    pages = re.findall(r"docs/[\w/]+\.md", text)
    assert pages
    assert all((ROOT / page).exists() for page in pages)


def test_formula_settings_and_defaults(capsys):
    words = ["grpo_paper", "objective.policy.loss.clip_high=.28", "reward=exact", "threads=1"]
    assert main(["explain", *words]) == 0
    text = capsys.readouterr().out
    assert "lowers       policy + 0.04 kl\n" in text
    assert "reference    frozen\n" in text
    assert "clip_low=0.2, clip_high=0.28 (default 0.2), limit=20\n" in text
    assert "reward = exact\n" in text


ROUND_TRIPS = [
    *((name,) for name in RECIPES),
    *((name, "scale=paper", "model=nobody/has-this") for name in published()),
    ("spo_chain", "advantage.whiten=null", "objective.kl=null", "reference=none"),
    ("ppo", "critic=null", "advantage.credit=grpo"),
    ("scalerl", "arrange.varied=null", "arrange.best=best_of"),
    ("grpo", "advantage={overlong: {kind: overlong, limit: 90, buffer: 9}, credit: grpo}"),
    ("grpo", "reward={kind: mix, parts: {math: 1, format: .5}}", "template=Q: {q}", "stop=['\\n', 'x']"),
    ("grpo", "learning_rate=1e-7", "task=countdown", "tracker=wandb", "threads=1", "out=a b"),
    ("gspo", "advantage.credit=OWN:Mine", "advantage.credit.power=3", "data=x.jsonl", "columns.answer=a.b"),
    ("grpo", "natural={max_kl: .5}", "environment=guess_number", "objective.policy.correction=[importance]"),
]


@pytest.mark.parametrize("words", ROUND_TRIPS, ids=" ".join)
def test_the_whole_configuration_is_read_again(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(explaining, "use", lambda chosen, device: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    words = [word.replace("OWN", str(tmp_path / "own.py")) for word in words]
    assert main(["explain", *words, "full=true"]) == 0
    (tmp_path / "run.yaml").write_text(capsys.readouterr().out)
    found = []
    for line in (words, ["run.yaml"]):
        asked = asked_by(line)
        config = configured(asked.recipe, asked.changes, 1, asked.again)
        found.append(without_out(config))
    assert found[1] == found[0]
    written = read_file(tmp_path / "run.yaml")
    assert written["control"].get("out") == ("a b" if "out=a b" in words else None)
    assert written["engine"]["threads"] == (1 if "threads=1" in words else None)


def without_out(config: RunConfig) -> RunConfig:
    """Without the folder, whose name holds the time."""
    return dataclasses.replace(config, control=dataclasses.replace(config.control, out=""))


OWN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    power: int = 2
    reads = ("reward",)
    def __call__(self, batch): ...
"""


def test_full_is_true_or_false(capsys):
    assert main(["explain", "grpo", "full=yes"]) == 2
    assert capsys.readouterr().err == "menon: 'full=yes' is neither full=true nor full=false\n"
    assert main(["explain", "grpo", "full=false", "threads=1"]) == 0
    assert "a step" in capsys.readouterr().out


def test_a_teacher_and_steps_that_the_policy_writes(capsys):
    assert main(["explain", "gkd", "threads=1"]) == 0
    shown = capsys.readouterr().out
    assert "  teacher      to be named: set teacher=FOLDER" in shown
    assert "in 50% of the steps, answers of the policy instead:" in shown
    assert "32 prompts x 1 samples, at most 96 tokens each" in shown
    assert main(["explain", "self_distill", "threads=1"]) == 0
    assert "  teacher      start" in capsys.readouterr().out
    main(["explain", "sdpo"])
    assert "  teacher      start, a moving average of the policy: rate 0.05" in capsys.readouterr().out
    main(["explain", "opd", "teachers.math=base", "teachers.law=start"])
    assert "  teacher      math: base, law: start" in capsys.readouterr().out
