"""A checkpoint is an ordinary model folder: the commands of docs/export.md, what its files hold, and that
nothing of a run is lost by the precision of its files."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects, validate_repo_id
from safetensors.torch import load_file

from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.assembly.models import saved_dtypes
from menon.base import BASES
from menon.cli import main
from menon.cli.words import last_of_each
from menon.engines.hf_models import export, load_policy
from menon.engines.model_files import FileDtypes, dtypes_in
from menon.sync.fingerprint import fingerprint

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
REWARD = "def half(prompt, completion, answer, completion_ids):\n    return float(sum(completion_ids) % 2)\n"
SETTINGS = "steps=2 prompts_per_step=4 samples_per_prompt=4 heldout=3 report_questions=0 max_new_tokens=6"
VOCAB = len(ALPHABET) + 1
FILE = "model.safetensors"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A model in bfloat16 and a reward. A learning rate of 1e-4 moves most weights by less than bfloat16 can
    tell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("menon.assembly.questions.TASK_ROWS", 50)
    monkeypatch.setattr("menon.threads.prepare", lambda *_: None)
    export(tiny_model(vocab=VOCAB, dtype=torch.bfloat16), tiny_tokenizer(VOCAB), tmp_path / "model")
    Path("rewards.py").write_text(REWARD)


def train(out: str, *words: str, model: str = "model") -> Path:
    """The newest checkpoint of a new run."""
    fixed = [f"model={model}", "reward=rewards.py:half", "threads=1", "device=cpu", "learning_rate=1e-4"]
    given = last_of_each([*SETTINGS.split(), *fixed, f"out={out}", *words])
    assert main(["train", "grpo", *given]) == 0
    return Path(out, "checkpoints", "latest")


def published(out: str) -> list[str]:
    """The fingerprint of the policy after each step."""
    lines = Path(out, "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["fingerprint"] for line in lines]


def read(file: str) -> dict[str, Any]:
    return json.loads(Path(file).read_text())


class TestPrecision:
    def test_a_checkpoint_has_the_dtype_of_the_model_that_the_run_began_with(self):
        checkpoint = train("a")
        files = load_file(checkpoint / FILE)
        assert {weight.dtype for weight in files.values()} == {torch.bfloat16}
        assert (checkpoint / FILE).stat().st_size == Path("model", FILE).stat().st_size
        assert read("a/checkpoints/latest/config.json")["dtype"] == "bfloat16"
        trained = load_file(checkpoint / "state" / "policy.safetensors")
        assert fingerprint(trained) == published("a")[-1]
        for name, weight in files.items():
            assert torch.equal(weight, trained[name].bfloat16())
        assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in trained.values())

    def test_a_run_that_goes_on_is_the_run_that_never_stopped(self, capsys):
        train("a")
        assert main(["train", "--resume", "a", "steps=3"]) == 0
        train("b", "steps=3")
        assert published("a") == published("b")
        one, other = (Path(run, "checkpoints", "latest") for run in ("a", "b"))
        for name in (FILE, "state/policy.safetensors", "state/optimisers.safetensors"):
            assert (one / name).read_bytes() == (other / name).read_bytes()

    def test_what_begins_with_a_checkpoint_or_measures_it_has_the_weights_that_trained(self):
        checkpoint = train("a")
        train("b", model=str(checkpoint))
        assert read("b/run.json")["origin"]["weights"] == published("a")[-1]
        assert main(["eval", "a", "threads=1", "n=3", "out=a.json"]) == 0
        assert read("a.json")["weights"] == published("a")[-1]

    def test_save_dtype_asks_for_another_also_when_a_run_goes_on(self):
        checkpoint = train("a", "save_dtype=float32")
        files = load_file(checkpoint / FILE)
        assert {weight.dtype for weight in files.values()} == {torch.float32}
        assert read("a/checkpoints/latest/config.json")["dtype"] == "float32"
        assert load_file(checkpoint / "state" / "policy.safetensors") == {}
        model, _ = load_policy(checkpoint)
        assert fingerprint(dict(model.named_parameters())) == published("a")[-1]
        assert main(["train", "--resume", "a", "steps=3", "save_dtype=bfloat16"]) == 0
        assert {weight.dtype for weight in load_file(checkpoint / FILE).values()} == {torch.bfloat16}
        assert read("a/run.json")["settings"]["control"]["save_dtype"] == "bfloat16"

    @pytest.mark.parametrize(
        ("words", "said"), [((), 1), (("dtype=bfloat16",), 0), (("save_dtype=float32",), 0)], ids=str
    )
    def test_a_run_says_that_its_files_hold_less_than_it_measures(self, words, said, capsys):
        train("a", *words)
        sentence = (
            "this run computes in float32, and the model's files in its checkpoints are bfloat16; where "
            "other tools must read every digit, set save_dtype=float32"
        )
        assert " ".join(capsys.readouterr().out.split()).count(sentence) == said

    def test_built_in_models_are_written_in_float32(self):
        place = BASES["base"]
        assert dtypes_in(place).usual == torch.bfloat16
        model, _ = load_policy(place)
        told: list[str] = []
        for setting, name, dtypes in (
            ("auto", "base", FileDtypes(torch.float32)),
            ("bfloat16", "base", FileDtypes(torch.bfloat16)),
            ("auto", str(place), dtypes_in(place)),
        ):
            assert saved_dtypes(setting, name, model, "float32", told.append) == dtypes
        assert ["are bfloat16" in sentence for sentence in told] == [True, True]

    def test_a_float32_model_stays_float32_and_is_written_once(self):
        export(tiny_model(vocab=VOCAB), tiny_tokenizer(VOCAB), Path("whole"))
        checkpoint = train("a", model="whole")
        assert {weight.dtype for weight in load_file(checkpoint / FILE).values()} == {torch.float32}
        assert load_file(checkpoint / "state" / "policy.safetensors") == {}


def test_all_files_of_a_checkpoint_have_the_permissions_of_new_files():
    checkpoint = train("a")
    Path("new").touch()
    modes = {file.stat().st_mode & 0o777 for file in checkpoint.rglob("*") if file.is_file()}
    assert modes == {Path("new").stat().st_mode & 0o777}


class TestPage:
    """The commands of docs/export.md on a run of the page's name."""

    def test_transformers(self, capsys):
        train("runs/mine", "evaluate_every=1")
        code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        assert len(code) == 1
        assert 'folder = "runs/mine/checkpoints/best"' in code[0]
        capsys.readouterr()
        found: dict[str, Any] = {}
        exec(compile(code[0], "docs/export.md", "exec"), found)
        assert found["model"].dtype == torch.bfloat16
        written = found["answer"][0, found["prompt"].input_ids.shape[1] :]
        assert 1 <= len(written) <= 96
        expected = tiny_tokenizer(VOCAB).decode(written, skip_special_tokens=True)
        assert capsys.readouterr().out == expected + "\n"

    def test_the_hub_gets_the_model_alone(self, monkeypatch):
        """The command up to the request: what it names exists, and which files it would send."""
        train("runs/mine", "evaluate_every=1")
        (line,) = re.findall(r"^hf upload .*$", PAGE, re.MULTILINE)
        asked: dict[str, Any] = {}

        class Created:
            repo_id = "me/my-model"

        monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *_, **__: Created())
        monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", lambda _, **names: asked.update(names))
        from huggingface_hub.cli.hf import app

        app(shlex.split(line)[1:], standalone_mode=False)
        validate_repo_id(asked["repo_id"])
        folder = Path(asked["folder_path"])
        files = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
        assert any(file.startswith("state/") for file in files)
        sent = set(filter_repo_objects(files, ignore_patterns=asked["ignore_patterns"]))
        assert sent == {file.name for file in folder.iterdir() if file.is_file()}
        assert {FILE, "config.json", "generation_config.json", "tokenizer.json"} <= sent
