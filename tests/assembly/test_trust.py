"""A run folder of somebody else's runs no code and asks no server before the user has said so."""

import json
import shutil
from pathlib import Path

import pytest

from menon.assembly.trust import named_in
from menon.cli import main
from menon.user_code import file_named, source_hash

SMALL = ["grpo", "threads=1", "steps=1", "prompts_per_step=2", "samples_per_prompt=2", "max_new_tokens=4"]
SMALL += ["heldout=2", "task=chain_sum", "report_questions=0"]
CODE = """
from pathlib import Path
Path(__file__).with_name("was_run").touch()
def score(completion, answer):
    return 1.0
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with code that leaves a mark, and where this user has named nothing so far."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("theirs").mkdir()
    Path("theirs/evil.py").write_text(CODE)
    return tmp_path


def run_with(**source) -> Path:
    """A run folder whose source has other settings than the user has ever given."""
    if not Path("mine").exists():
        assert main(["train", *SMALL, "out=mine"]) == 0
    shutil.rmtree("other", ignore_errors=True)
    shutil.copytree("mine", "other")
    about = json.loads(Path("other/run.json").read_text())
    about["settings"]["source"] |= source
    about["settings"]["control"]["steps"] = 2
    Path("other/run.json").write_text(json.dumps(about))
    return Path("other")


def mark() -> bool:
    return Path("theirs/was_run").exists()


REWARD = {"reward": "theirs/evil.py:score"}
ASKING = (
    ["train", "other/run.json", "out=again"],
    ["train", "--resume", "other"],
    ["explain", "other/run.json"],
    ["eval", "other", "n=2"],
    ["posterior", "other", "n=1", "method=bon"],
)


@pytest.mark.parametrize("words", ASKING, ids=lambda words: " ".join(words[:2]))
def test_code_of_a_folder_waits_for_a_word(elsewhere, capsys, words):
    run_with(**REWARD)
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("menon: ")
    assert "it runs theirs/evil.py:score" in said
    assert str(elsewhere / "theirs" / "evil.py") in said
    assert said.endswith("look at it, and add own_code=allow if you trust it\n")
    assert not mark()


def test_with_the_word_it_runs_and_is_known_from_then_on(elsewhere, capsys):
    run_with(**REWARD)
    assert main(["train", "--resume", "other", "own_code=allow"]) == 0
    assert mark()
    assert main(["eval", "other", "n=2"]) == 0
    Path("theirs/evil.py").write_text(CODE + "# changed\n")
    Path("theirs/was_run").unlink()
    assert main(["eval", "other", "n=2"]) == 2
    assert "own_code=allow" in capsys.readouterr().err
    assert not mark()


def test_what_the_user_has_named_is_known(elsewhere, capsys):
    assert main(["train", *SMALL, "reward=theirs/evil.py:score", "out=mine"]) == 0
    assert main(["eval", "mine", "n=2"]) == 0
    assert main(["train", "mine/run.json", "out=again"]) == 0
    assert main(["train", "--resume", "mine", "steps=2"]) == 0


def test_changed_code_is_noticed_before_it_is_loaded(elsewhere, capsys):
    assert main(["train", *SMALL, "reward=theirs/evil.py:score", "out=mine"]) == 0
    Path("theirs/evil.py").write_text(CODE + "# changed\n")
    Path("theirs/was_run").unlink()
    assert main(["train", "--resume", "mine", "steps=2", "own_code=allow"]) == 2
    assert "theirs/evil.py:score has changed, and 1 step of mine learned from the old code" in (
        capsys.readouterr().err
    )
    assert not mark()


def test_a_server_is_named_with_the_variable_that_it_would_get(elsewhere, capsys, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    run_with(
        reward={"kind": "judge", "url": "https://evil.example/v1", "key_variable": "AWS_SECRET_ACCESS_KEY"}
    )
    for words in ASKING:
        capsys.readouterr()
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "it asks https://evil.example/v1 with the key in AWS_SECRET_ACCESS_KEY" in said
        assert "secret" not in said.replace("SECRET", "")


def test_a_sweep(elsewhere, capsys):
    Path("swept").mkdir()
    plan = {"arms": {"a": [*SMALL, "reward=theirs/evil.py:score"]}, "shared": [], "recipe": [], "seeds": [0]}
    Path("swept/sweep.json").write_text(json.dumps(plan))
    assert main(["sweep", "--resume", "swept"]) == 2
    assert "swept/sweep.json brings what you have not named yourself: it runs theirs/evil.py:score" in (
        capsys.readouterr().err
    )
    assert not mark()


def test_another_word_is_refused(elsewhere, capsys):
    run_with(**REWARD)
    assert main(["train", "--resume", "other", "own_code=yes"]) == 2
    assert "own_code is yes; it takes allow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tree", "does"),
    [
        ({"reward": "a b/x.py:f"}, ["runs a b/x.py:f"]),
        ({"reward": {"kind": "pkg.mod:Cls.method"}}, ["runs pkg.mod:Cls.method"]),
        ({"objective": {"p": {"correction": [{"kind": "x-y:C"}]}}}, ["runs x-y:C"]),
        ({"r": {"kind": "weighted", "parts": {"a": "m:f", "b": 1}}}, ["runs m:f"]),
        ({"sandbox": "https://h/run"}, ["asks https://h/run without a key"]),
        ({"url": "http://h", "key_variable": "K"}, ["asks http://h with the key in K"]),
        ({"environment": {"kind": "verifiers", "taskset": "t"}}, ["runs the taskset t of verifiers"]),
        ({"sampler": {"kind": "vllm", "python": "/x/python"}}, ["starts vLLM by /x/python"]),
        (
            {"sampler": {"kind": "vllm", "python": "", "arguments": {"trust_remote_code": True}}},
            ["gives vLLM the arguments {'trust_remote_code': True}"],
        ),
        ({"placement": {"kind": "ray", "address": "10.0.0.1:6379"}}, ["joins the Ray cluster 10.0.0.1:6379"]),
        ({"control": {"tracker": "wandb"}}, ["reports to wandb"]),
        ({"reward": {"kind": "mix", "parts": {"format": 0.2, "r/s.py:score": 1}}}, ["runs r/s.py:score"]),
        (
            {"environment": {"kind": "python", "sandbox": "limits_only"}},
            ["runs programs of its model with limits only"],
        ),
        ({"placement": {"kind": "ray", "address": ""}, "control": {"tracker": None}}, []),
        (
            {
                "own_code": {"x.py:f": "1"},
                "data": "hub:a/b:main",
                "template": "Q: {q}\nA:",
                "stop": ["User:"],
            },
            [],
        ),
    ],
)
def test_everything_that_would_run_or_be_asked_is_found(tree, does):
    assert [one.does for one in named_in(tree)] == does


def test_a_module_is_found_without_running_its_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pack").mkdir()
    Path("pack/__init__.py").write_text("raise SystemExit('run')")
    Path("pack/inner.py").write_text("x = 1\n")
    assert file_named("pack.inner:x") == tmp_path / "pack" / "inner.py"
    assert len(source_hash("pack.inner:x")) == 64
    assert file_named("pack.none:x") is None
    assert file_named("no_such:x") is None
    assert file_named("__main__:x") is None


def test_a_pipeline(elsewhere, capsys):
    small = [
        "rounds=1",
        "write_1.prompts=4",
        "sft_1.steps=1",
        "threads=1",
        "heldout=2",
        "sft_1.rows.heldout=2",
    ]
    assert main(["train", "star", *small, "out=mine", "skip=sft"]) == 0
    about = json.loads(Path("mine/pipeline.json").read_text())
    about["stages"][0]["settings"]["source"]["reward"] = "theirs/evil.py:score"
    shutil.rmtree("mine/1_write_1")
    Path("mine/pipeline.json").write_text(json.dumps(about))
    capsys.readouterr()
    assert main(["train", "--resume", "mine"]) == 2
    assert "mine/pipeline.json brings what you have not named yourself: it runs theirs/evil.py:score" in (
        capsys.readouterr().err
    )
    assert not mark()
    assert main(["train", "--resume", "mine", "skip=sft", "own_code=allow"]) == 0
    assert mark()
