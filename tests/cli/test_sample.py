"""`menon sample`: answers, their numbers, their colours."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.assembly.sample import SampleConfig, sample
from menon.cli import main
from menon.cli.sample import coloured, facts
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import export
from menon.prompts.tasks import LongChain
from menon.settings import read


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", vocab=len(ALPHABET) + 1), tiny_tokenizer(len(ALPHABET) + 1), path)
    return str(path)


def test_answers_to_a_question(folder):
    found = sample(SampleConfig(folder, n=3, max_new_tokens=8, seed=2), "1+1=")
    assert len(found) == 3
    assert len({one.graded.rollout.text for one in found}) > 1
    for one in found:
        rollout = one.graded.rollout
        assert "".join(one.pieces).removesuffix("<|endoftext|>") == rollout.text
        logp = rollout.logp[rollout.is_action].sum()
        assert f"log-prob {logp:.2f} ({logp / rollout.is_action.sum():.2f} a token" in facts(one)
        assert np.isnan(one.graded.verdict.acc)
    again = sample(SampleConfig(folder, n=3, max_new_tokens=8, seed=2), "1+1=")
    assert [one.graded.rollout.text for one in again] == [one.graded.rollout.text for one in found]


def test_the_shipped_base_is_judged_on_a_task(capsys):
    assert main(["sample", "base", "task=chain_sum", "question=2", "n=2", "threads=1", "device=cpu"]) == 0
    text = capsys.readouterr().out
    assert "the answer is" in text
    assert text.count(", right") + text.count(", wrong") == 2
    assert "\x1b" not in text  # no terminal, no colour


def test_a_task_has_its_settings(folder):
    words = {
        "model": folder,
        "task": {"kind": "long_chain", "steps": 3},
        "n": 1,
        "question": 2,
        "max_new_tokens": 4,
    }
    (one,) = sample(read(SampleConfig, words), None)
    assert one.graded.rollout.prompt.text == LongChain(steps=3).rows("heldout", 2, 0)[1]["question"]


def test_bfloat16_keeps_rotary_frequencies(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "menon.assembly.sample.TorchSampler",
        lambda model, *args, **kw: seen.append(model) or TorchSampler(model, *args, **kw),
    )
    sample(SampleConfig(folder, n=1, max_new_tokens=4, dtype="bfloat16"), "1+1=")
    (model,) = seen
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}


def test_a_question_may_hold_an_equals_sign(folder, capsys):
    assert main(["sample", folder, "3+4=", "n=1", "max_new_tokens=4", "threads=1", "device=cpu"]) == 0
    assert "question     3+4=" in capsys.readouterr().out


def test_uncertain_tokens_are_coloured(folder):
    from rich.console import Console

    (one,) = sample(SampleConfig(folder, n=1, max_new_tokens=6), "1+1=")
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, color_system="truecolor").print(coloured(one))
    assert "\x1b[48;2;" in screen.getvalue()
    sure = replace(
        one.graded, rollout=replace(one.graded.rollout, entropy=np.zeros_like(one.graded.rollout.entropy))
    )
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, color_system="truecolor").print(
        coloured(replace(one, graded=sure))
    )
    assert "\x1b[48;2;" not in screen.getvalue()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "sample takes a model and perhaps a question"),
        (["base", "a", "b"], "sample takes a model and perhaps a question"),
        (
            ["base", "a", "task=chain_sum"],
            "a question is written out and a task is named; leave one of them out",
        ),
        (["base", " "], "the question is empty; write it after the model, or leave it out"),
        (["base", "n=0"], "n is 0; it must be at least 1"),
        (["base", "m=2"], "unknown setting 'm'"),
        (["./none", "x"], "there is no folder ./none; name a model folder"),
        (["base", "question=99999999"], "question is 99999999, and chain_sum has"),
        (["base", "task=sorting", "task.difficulty=9"], "in task: sorting has difficulties 1 to 4, not 9."),
    ],
)
def test_mistakes(words, sentence, capsys):
    assert main(["sample", *words, "threads=1"]) == 2
    assert capsys.readouterr().err.startswith(f"menon: {sentence}")


def test_a_folder_without_weights_is_one_sentence(tmp_path, capsys):
    tiny_model("qwen3").config.save_pretrained(tmp_path)
    for command in ("sample", "eval"):
        assert main([command, str(tmp_path), "threads=1"]) == 2
        assert "has no weights (*.safetensors); get them, or save the model again" in capsys.readouterr().err
