"""`menon check sync`, and a run whose sampler is an engine in another process (the fake one)."""

import json
import os
import sys
from pathlib import Path

import pytest

from engines import SUPPORT
from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.cli import main
from menon.engines.hf_models import export
from menon.sync.by_copy import ByCopy
from menon.sync.fingerprint import fingerprint
from menon.sync.protocols import Published

SMALL = ["model=model", "threads=1", "device=cpu", "prompts_per_step=4", "samples_per_prompt=4", "heldout=3"]


@pytest.fixture
def words(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("menon.assembly.questions.TASK_ROWS", 50)
    monkeypatch.setattr("menon.threads.prepare", lambda *_: None)
    size = len(ALPHABET) + 1
    export(tiny_model("qwen3", vocab=size), tiny_tokenizer(size), tmp_path / "model")
    return [*SMALL, "max_new_tokens=6"]


def last_line(capsys) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_the_built_in_sampler_is_in_step(words, capsys):
    assert main(["check", "sync", "grpo", *words]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "sync ok"
    assert any("publications of unchanged weights changed no text" in line for line in printed)
    assert any("also to a prompt of 122 tokens asked before" in line for line in printed)
    assert sorted(path.name for path in Path().iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("lie", "words_of_it"),
    [
        (lambda channel, version: fingerprint(channel.policy.models["policy"].weights()), "moved nothing"),
        (lambda channel, version: "0" * 32, "moved nothing: the sampler has the fingerprint of before"),
    ],
)
def test_a_channel_that_moves_nothing_is_caught(words, capsys, monkeypatch, lie, words_of_it):
    def publish(channel, version):
        channel.sampler.version = version
        return Published(version, lie(channel, version))

    monkeypatch.setattr(ByCopy, "publish", publish)
    assert main(["check", "sync", "grpo", *words, "staleness=1"]) == 1
    line = last_line(capsys)
    assert line.startswith("sync failed: ")
    assert words_of_it in line


def test_runs_that_have_nothing_to_check(words, capsys):
    Path("rows.jsonl").write_text('{"prompt": "1+1=", "completion": "2"}\n')
    assert main(["check", "sync", "sft", "data=rows.jsonl", "model=model", "threads=1"]) == 2
    assert "has no sampler to publish to" in capsys.readouterr().err
    assert main(["check", "sync", "--resume", "runs/x"]) == 2
    assert "leave --resume out" in capsys.readouterr().err


def test_a_run_with_an_engine_of_another_environment(words, capsys, monkeypatch):
    """The fake engine in place of vLLM: the run trains, and its weights are proved in every step."""
    monkeypatch.setattr("menon.engines.vllm_sampler.ENTRY", "fake_engine:handler")
    monkeypatch.setattr("menon.engines.vllm_sampler.NAMES", ["numpy"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), str(SUPPORT.parent)]))
    Path("even.py").write_text("def even(completion, **_):\n    return float(len(completion) % 2)\n")
    engine = [
        "reward=even.py:even",
        "sampler=vllm",
        f"sampler.python={sys.executable}",
        "sampler.cache_gib=0.1",
    ]
    assert main(["train", "grpo", *words, *engine, "steps=2", "learning_rate=1e-2", "out=a"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("menon: vLLM starts")  # at once, and not once it has started
    assert "entropy 0.000" not in printed.out
    lines = [json.loads(line) for line in Path("a/metrics.jsonl").read_text().splitlines()]
    assert len({line["fingerprint"] for line in lines}) == 2
    assert all(line["mismatch/abs"] < 1e-5 for line in lines)
    assert json.loads(Path("a/run.json").read_text())["settings"]["engine"]["sampler"]["kind"] == "vllm"
