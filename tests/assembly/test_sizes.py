"""The formulas for GPUs, worked by hand and against models that transformers builds; and the page that they
write."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3MoeConfig

from helpers import tiny_model
from menon.assembly import sizes
from menon.assembly.sizes import GPUS, SHAPES, Gpu, Layout, Shape, Work, first_that_fits, learner_bytes
from menon.cli import main
from menon.engines import lora
from menon.update.adapter import Adapter

ROOT = Path(__file__).parents[2]
TINY = Shape("tiny", layers=2, hidden=8, intermediate=16, heads=2, key_heads=1, head_dim=4, vocabulary=32)
"""Attention 2 * 8 * 4 * 3 = 192, an MLP 3 * 8 * 16 = 384: 576 a layer; two embeddings of 256."""
PLAIN = Gpu("plain", memory=1e9, flops=1e6, bandwidth=1e6, near=1e6)
SURE = sizes.Assumed(mfu=1, decode_bandwidth=1, decode_flops=1, link=1, usable=1)


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(
            vocab_size=151_936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        ),
        Qwen3MoeConfig(
            vocab_size=151_936,
            hidden_size=4096,
            num_hidden_layers=94,
            head_dim=128,
            num_attention_heads=64,
            num_key_value_heads=4,
            num_experts=128,
            moe_intermediate_size=1536,
            num_experts_per_tok=8,
            tie_word_embeddings=False,
        ),
    ],
    ids=["0.5B", "235B"],
)
def test_shapes_are_those_of_the_models(config):
    """Without norms and biases, which the formulas leave out."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim > 1)
    shape = sizes.shape_of(config, "x")
    assert shape is not None
    assert shape.parameters == matrices
    assert replace(shape, name="") in [replace(known, name="") for known in SHAPES.values()]
    layers = lora.linears(model).values()
    assert shape.adapter(7) == sum(7 * sum(layer.weight.shape) for layer in layers)


def test_published_totals():
    """Of the model cards: 135 M, 0.49 B, 1.54 B, 7.61 B, 32.8 B, and 235 B of which 22 B are active. The
    cards count the embedding of the mixture as active, and the formulas do not."""
    found = [shape.parameters / 1e9 for shape in SHAPES.values()]
    assert found == pytest.approx([0.135, 0.49, 1.54, 7.61, 32.8, 235], rel=0.01)
    mixture = SHAPES["Qwen/Qwen3-235B-A22B"]
    assert round((mixture.active + mixture.vocabulary * mixture.hidden) / 1e9) == 22


def test_what_a_learner_holds_by_hand():
    assert (TINY.layer, TINY.parameters, TINY.active, TINY.kv) == (576, 1664, 1408, 16)
    whole = learner_bytes(TINY, Layout(2, reference=True, tokens_per_forward=10))
    assert whole == {
        "weights": 4 * 1664 / 2,
        "gradients": 4 * 1664 / 2,
        "moments": 8 * 1664 / 2,
        "reference": 4 * 1664 / 2,
        "whole layers": 4 * (512 + 2 * 576) + 2 * 576,
        "activations": 10 * 2 * (2 * 8 + 8 * 8 + 4 * 16),
        "logits": 3 * 4 * 320,
    }
    away = learner_bytes(TINY, Layout(2, reference=True, tokens_per_forward=10, offload=True))
    assert sum(away.values()) == sum(whole.values()) - 20 * 1664 / 2
    # A: 4 projections with 8 + 8 and 8 + 4 numbers in and out, twice each; an MLP with 3 * (8 + 16).
    assert TINY.adapter(3) == 2 * 3 * (2 * 16 + 2 * 12 + 3 * 24)
    adapted = learner_bytes(TINY, Layout(rank=3, reference=True, recompute=False, tokens_per_forward=10))
    assert adapted["weights"] == 2 * 1152 + 4 * 512 + 4 * 768
    assert (adapted["gradients"], adapted["moments"]) == (4 * 768, 8 * 768)
    assert (adapted["reference"], adapted["whole layers"]) == (0, 0)
    assert adapted["activations"] == 10 * 2 * 2 * (8 * 8 + 4 * 16)
    assert learner_bytes(TINY, Layout(2, rank=3))["weights"] == 4 * (1664 + 768) / 2


def test_time_by_hand():
    """4 answers of 6 tokens, at most 10, to one prompt of 2; each token sees half of 8 others on average."""
    work = Work(answers=4, prompt=2, length=6, longest=10, scored=2, samples=4)
    forward = 2 * 1408 + 4 * 2 * 2 * 4 * 8 / 2
    layout = Layout(tokens_per_forward=16, recompute=False, slots=4)
    spent = sizes.seconds(TINY, layout, work, PLAIN, SURE)
    assert spent["score"] == pytest.approx(2 * forward * 32 / 1e6)
    assert spent["learn"] == pytest.approx(3 * forward * 32 / 1e6)
    step = max(2 * 1664 + 4 * 2 * 16 * 5, 4 * (2 * 1408 + 4 * 2 * 2 * 4 * 6 / 2)) / 1e6
    assert spent["write"] == pytest.approx(10 * step + 2 * 1408 * 2 / 1e6)
    assert sizes.seconds(TINY, replace(layout, rank=1), work, PLAIN, SURE)["learn"] == pytest.approx(
        2 * forward * 32 / 1e6
    )
    two = sizes.seconds(TINY, replace(layout, gpus=2), work, replace(PLAIN, near=1e3), SURE)
    assert two["learn"] == pytest.approx(12 * 1664 / 1e3)  # one pass each: the links are the limit
    away = sizes.seconds(
        TINY, replace(layout, gpus=2, offload=True), work, replace(PLAIN, near=1e3, host=1e3), SURE
    )
    assert away["learn"] == pytest.approx(12 * 1664 / 1e3 * 1.5 + 28 * 1664 / 2 / sizes.HOST_MEMORY)


def test_a_mixture_reads_the_experts_that_are_used():
    mixture = replace(TINY, experts=4, chosen=1)
    assert mixture.layer == 192 + 4 * 384 + 32
    assert mixture.active == 2 * (192 + 384 + 32) + 256
    few = sizes.writing_seconds(mixture, Layout(slots=1), Work(1, 1, 2, 2), replace(PLAIN, flops=1e12), SURE)
    idle = 2 * 3 * 384
    assert few == pytest.approx(2 * (2 * (mixture.parameters - idle) + 32 * 2) / 1e6, rel=1e-3)


def test_the_simplest_layout_that_fits():
    work, gpu = Work(), GPUS["h100"]
    found = {name: first_that_fits(shape, Layout(1), work, gpu) for name, shape in SHAPES.items()}
    *small, seven, large, mixture = found.values()
    assert small == [Layout(1)] * 3
    assert seven is not None
    assert seven.rank == 32
    assert large is mixture is None
    for shape in SHAPES.values():
        for count in (1, 8, 64):
            layout = first_that_fits(shape, Layout(count), work, gpu)
            assert layout is None or sizes.peak(shape, layout, work, gpu) <= 0.9 * 80e9
    assert sizes.ways(SHAPES["Qwen/Qwen3-235B-A22B"], gpu, 64) == 16  # 470 GB, at most 36 on each


GRANTED = "with dtype=bfloat16 checkpointing=true"
"""What the formulas take for granted, whatever a run has set."""


def test_what_is_printed(capsys):
    words = ["explain", "grpo", "threads=1", "max_new_tokens=2048"]
    assert main([*words, "model=Qwen/Qwen2.5-7B", "gpus=8"]) == 0
    text = capsys.readouterr().out
    assert "on 8 x H100 SXM, by formula" in text
    assert f"ranks=8, {GRANTED}: 256 answers at a time and 8,192 tokens a pass on each GPU" in " ".join(
        text.split()
    )
    assert "sampler's weights 14.2" in " ".join(text.split())
    assert main([*words, "model=Qwen/Qwen2.5-32B", "gpu=a100"]) == 0
    assert "does not fit: " in capsys.readouterr().out
    assert main([*words, "model=base", "gpus=2", "adapter.rank=4"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "rank 4: 40,960 numbers learn, 4.62% of the model's number" in text
    assert "set learning_rate=0.003, or keep it to compare" in text
    assert f"ranks=2 adapter.rank=4, {GRANTED}: 256 answers" in text
    assert main([*words, "gpus=none"]) == 2
    assert main([*words, "gpu=h10"]) == 2
    assert "there is no formula for gpu=h10; there are rtx4090, a100, h100, h200" in capsys.readouterr().err


def test_sizes_of_an_adapter_are_those_that_are_attached(tmp_path):
    from helpers import tiny_tokenizer
    from menon.assembly.derived import size_of_model
    from menon.engines.hf_models import export

    export(tiny_model("gpt2"), tiny_tokenizer(), tmp_path)
    shape = size_of_model(str(tmp_path))
    assert shape is not None
    for setting in (Adapter(rank=3), Adapter(rank=2, targets=("c_fc", "attn.c_proj"))):
        model = tiny_model("gpt2")
        lora.attach(model, setting, 0, "x")
        assert shape.adapter_size(setting) == sum(w.numel() for w in lora.own_parameters(model).values())


@pytest.fixture(scope="module")
def page():
    """The script that writes docs/sizes.md."""
    spec = importlib.util.spec_from_file_location("sizes_page", ROOT / "scripts" / "sizes_page.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_page_has_the_numbers_of_the_formulas(page):
    for name, rows in page.TABLES.items():
        assert rows_of(page, name) == [[cell.strip() for cell in row] for row in rows()], (
            "run scripts/sizes_page.py"
        )
    assert math.isclose(sizes.Assumed.mfu, 0.4)


def rows_of(page, name):
    """The cells of a table of docs/sizes.md."""
    text = page.PAGE.read_text(encoding="utf-8")
    part = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    del cells[1]
    return cells


STEP = ("prompts_per_step=16", "samples_per_prompt=8", "threads=1")
NAMES = {shape.name: name for name, shape in SHAPES.items()}


def test_rows_of_one_gpu_are_what_the_command_says(page, capsys):
    _, *rows = rows_of(page, "alone")
    kinds = ["rtx4090", "h200"] * 4
    assert [row[0] for row in rows] == [name for name in page.ALONE for _ in range(2)]
    for (name, _, settings, gib, *_, spent, speed), kind in zip(rows, kinds, strict=True):
        words = [f"model={NAMES[name]}", "gpus=1", f"gpu={kind}", "max_new_tokens=1024", *STEP]
        assert main(["explain", "grpo", *words]) == 0
        text = " ".join(capsys.readouterr().out.partition("by formula")[2].split())
        if settings == "does not fit":
            assert f"does not fit: {gib.removesuffix(' or more')} GiB on each at least" in text
            continue
        assert f"layout {settings.strip('`')}, {GRANTED}: " in text
        assert f"memory {gib} GiB on each" in text
        assert f"; {speed} tokens written a second" in text
        seconds = float(text.partition(" a step ")[2].split()[0])
        assert round(seconds) == pytest.approx(int(spent.partition(":")[0]), abs=1)


def test_rows_of_a_laptop_are_what_the_command_says(page, tmp_path, capsys):
    _, *rows = rows_of(page, "laptop")
    assert [row[0] for row in rows] == list(page.ALONE)
    for name, settings, gib, _ in rows:
        model = page.config_folder(SHAPES[NAMES[name]], tmp_path)
        fits = settings != "does not fit"
        more = settings.strip("`").split() if "=" in settings else page.SAVING[0 if fits else -1]
        words = [f"model={model}", "max_new_tokens=256", "device=cpu", *STEP, *more]
        assert main(["explain", "grpo", *words]) == 0
        about = float(capsys.readouterr().out.partition("memory       about ")[2].split()[0])
        assert about == pytest.approx(float(gib.removesuffix(" or more")), abs=0.051 if fits else 0.51)
        assert fits == (about * 2**30 <= page.LAPTOP)
