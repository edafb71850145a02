"""A resumed run goes on with the model and the data that it began with, or not at all."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import menon
from helpers import tiny_model, tiny_tokenizer
from menon.assembly.run import resume
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.record.origin import canonical
from tiny_run import Watching

LENGTH = """
def length(prompt, completion, answer, **columns):
    return float(len(completion) % 2)
"""
CHAT = "{% for m in messages %}{{ m['content'] }}:{% endfor %}"


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A folder with a model, data and a run of one step."""
    path = tmp_path_factory.mktemp("begun")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    export(tiny_model("qwen3", context=512), tokenizer, path / "model")
    rows = [{"question": f"{i}+{i}", "answer": str(2 * i), "level": i} for i in range(20)]
    for name, some in (("rows", rows[:12]), ("heldout", rows[12:])):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (path / "own.py").write_text(LENGTH)
    menon.train(
        "grpo",
        model=str(path / "model"),
        data=str(path / "rows.jsonl"),
        heldout_data=str(path / "heldout.jsonl"),
        reward=f"{path}/own.py:length",
        template="chat",
        reference="frozen",
        max_new_tokens=4,
        learning_rate=3e-4,
        steps=1,
        prompts_per_step=2,
        samples_per_prompt=2,
        report_questions=0,
        device="cpu",
        threads=1,
        out=str(path / "run"),
    )
    return path


@pytest.fixture
def kept(begun, tmp_path) -> Iterator[None]:
    """Puts the folder back after a test."""
    shutil.copytree(begun, tmp_path / "kept", symlinks=True)
    yield
    shutil.rmtree(begun)
    shutil.move(tmp_path / "kept", begun)


def goes_on(path: Path, steps: int = 2) -> list[str]:
    """Resumes the run of a folder; returns what it says."""
    watch = Watching()

    @contextmanager
    def show(header):
        yield watch

    resume(path / "run", {"steps": steps}, show)
    assert watch.steps == [2]
    return watch.sentences


def edit(file: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def edited(path: Path) -> None:
        text = (path / file).read_text()
        assert change(text) != text
        (path / file).write_text(change(text))

    return edited


def one_bit(path: Path) -> None:
    file = path / "model" / "model.safetensors"
    weights = load_file(file)
    name = sorted(weights)[-1]
    flat = weights[name].clone().view(torch.int32).flatten()
    flat[-1] ^= 1
    save_file(
        {**weights, name: flat.view(torch.float32).reshape(weights[name].shape)}, file, {"format": "pt"}
    )


ROWS, AS_MANY = "rows.jsonl", "changed (as many, with other contents)"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_bit, "the weights of {path}/model changed since"),
        (edit("model/config.json", lambda s: s.replace("1e-06", "1e-05")), "the configuration of"),
        (edit("model/tokenizer.json", lambda s: s.replace('"z":', '"zz":')), "the tokenizer of"),
        (
            edit("model/chat_template.jinja", lambda s: s.replace(":", "=")),
            "the template of the questions",
        ),
        (edit(ROWS, lambda s: s.replace('"4"', '"5"')), "the questions of {path}/rows.jsonl " + AS_MANY),
        (edit(ROWS, lambda s: s.replace('"level": 3', '"level": 4')), AS_MANY),
        (edit(ROWS, lambda s: s + s[: s.index("\n") + 1]), "changed (they were 12 and are 13)"),
        (edit(ROWS, lambda s: "".join(sorted(s.splitlines(True))[::-1])), AS_MANY),
        (edit("heldout.jsonl", lambda s: s.replace('"24"', '"25"')), "the held-out questions " + AS_MANY),
    ],
)
def test_what_changed_is_named(begun, kept, change, said):
    change(begun)
    with pytest.raises(UserError) as error:
        goes_on(begun)
    assert said.format(path=begun) in str(error.value)
    assert str(error.value).endswith(f"with model={begun}/run/checkpoints/latest")
    assert not (begun / "run" / "transcripts" / "step_000002.parquet").exists()


def test_what_does_not_matter_may_change(begun, kept):
    """Other files of the folder, spaces in the data, the version that wrote the configuration."""
    (begun / "model" / "README.md").write_text("hello")
    edit(ROWS, lambda s: s.replace(", ", ",  "))(begun)
    version = '"transformers_version": "'
    edit("model/config.json", lambda s: s.replace(version, version + "0"))(begun)
    assert goes_on(begun) == []


def test_a_run_without_fingerprints_goes_on_and_says_so(begun, kept):
    file = begun / "run" / "run.json"
    about = json.loads(file.read_text())
    assert about.pop("origin")["questions"]["count"] == 12
    file.write_text(json.dumps(about))
    one_bit(begun)
    (sentence,) = goes_on(begun)
    assert "keeps no fingerprints of its model and data (an earlier menon wrote it)" in sentence


def test_data_is_written_in_one_way_in_every_process():
    class Own:
        pass

    assert canonical({"b": {2, 1}, "a": (1, "x")}) == canonical({"a": [1, "x"], "b": {1, 2}})
    assert canonical([Own()]) == canonical([Own()])
    assert canonical({"a": "1"}) != canonical({"a": 1})
    assert canonical(["a", "b"]) != canonical(["a, b"])
