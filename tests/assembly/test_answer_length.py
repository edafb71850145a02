"""Answers of a model that is not built in are as long as its context allows, in every command."""

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.answer_length import least_room, length_for, length_within
from menon.assembly.as_run import as_run
from menon.assembly.build import build
from menon.assembly.evaluation import evaluate
from menon.assembly.run import resume, start
from menon.assembly.sample import SampleConfig, length_of, sample
from menon.cli import main
from menon.config import changed
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.eval.config import EvalConfig
from menon.loop import Run, Watcher
from menon.recipes import recipe
from tiny_run import Watching, online

SMALL = {
    "prompts_per_step": 2,
    "samples_per_prompt": 2,
    "heldout": 2,
    "report_questions": 0,
    "steps": 1,
    "device": "cpu",
    "threads": 1,
    "stop_without_signal": False,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[int, str]:
    """Random models, by their context."""
    found = {}
    for context in (64, 160, 2048):
        path = tmp_path_factory.mktemp(f"context{context}")
        export(tiny_model("qwen3", context=context), tiny_tokenizer(), path)
        found[context] = str(path)
    return found


def rows(path: Path, *questions: str) -> str:
    path.write_text("".join(json.dumps({"question": q, "answer": "1"}) + "\n" for q in questions))
    return str(path)


QUESTIONS = ["1+0=", "2-1=", "0+1=?", "x" * 40]


def built(name: str, model: str, **settings) -> AbstractContextManager[Run]:
    return build(changed(recipe(name, model), {"model": model, **SMALL, **settings}))


def test_arithmetic():
    assert [length_within(context, 30) for context in (None, 2048, 1054, 1053, 100)] == [
        *(1024, 1024, 1024, 1023, 70)
    ]
    prompts = [SimpleNamespace(tokens=range(n)) for n in (3, 9, 5)]
    assert length_for(None, 100, prompts) == 91  # type: ignore[arg-type]
    assert length_for(7, 100, prompts) == 7  # type: ignore[arg-type]
    assert (least_room(None), least_room(7)) == (96, 7)


def test_only_a_built_in_model_has_a_default():
    assert [recipe("grpo", name).source.max_new_tokens for name in ("base", "search_base", "other")] == [
        *(96, 96, None)
    ]
    assert recipe("grpo_paper", "other", "paper").source.max_new_tokens == 1024
    assert recipe("gspo", "other", "paper").source.max_new_tokens == 8000


def test_what_the_context_leaves(folders, tmp_path):
    """The longest of all prompts, held-out ones too, has 40 tokens: 160 - 40; a long context gives 1,024."""
    data = rows(tmp_path / "d.jsonl", *QUESTIONS)
    with built("grpo", folders[160], data=data) as run:
        assert online(run).around.sampling.max_new_tokens == 120
        assert run.evaluate.func.sampling.max_new_tokens == 120
        assert run.settings["source"]["max_new_tokens"] == 120
        assert run.header["answers"] == "up to 120 tokens (max_new_tokens; what the context of 160 leaves)"
    with built("grpo", folders[2048], data=data) as run:
        assert online(run).around.sampling.max_new_tokens == 1024
        assert (
            run.header["answers"] == "up to 1,024 tokens (max_new_tokens; the context of 2,048 leaves room)"
        )
    with built("grpo", folders[2048], data=data, max_new_tokens=5) as run:
        assert online(run).around.sampling.max_new_tokens == 5
        assert run.header["answers"] == "up to 5 tokens (max_new_tokens)"
    with build(changed(recipe("grpo"), SMALL)) as run:
        assert online(run).around.sampling.max_new_tokens == 96


def test_a_prompt_leaves_room_for_96_tokens(folders, tmp_path):
    """One question of 100 tokens would leave 60 to all answers."""
    data = rows(tmp_path / "d.jsonl", *QUESTIONS, "y" * 100)
    heldout = {"heldout_data": rows(tmp_path / "h.jsonl", *QUESTIONS)}
    with pytest.raises(UserError, match=r"context of 160 tokens with max_new_tokens=96 .*100 tokens"):
        built("grpo", folders[160], data=data, **heldout).__enter__()
    with built("grpo", folders[160], data=data, **heldout, on_bad="skip") as run:
        assert online(run).around.sampling.max_new_tokens == 120
    with built("grpo", folders[160], data=data, **heldout, max_new_tokens=60) as run:
        assert online(run).around.sampling.max_new_tokens == 60
    with pytest.raises(UserError, match=r"context of 64 tokens leaves no room .* lower max_new_tokens"):
        built("grpo", folders[64], data=data, **heldout).__enter__()


@pytest.mark.parametrize("name", ["dapo", "top_entropy"])
def test_the_overlong_penalty_follows(name, folders, tmp_path):
    """Its limit is the longest answer, its buffer a fifth of it."""
    data = rows(tmp_path / "d.jsonl", *QUESTIONS)
    with built(name, folders[160], data=data) as run:
        part = run.plan.advantage["overlong"]
        assert (part.limit, part.buffer) == (120, 24)
    with built(name, "base", data=data) as run:
        part = run.plan.advantage["overlong"]
        assert (part.limit, part.buffer) == (96, 19)
    with built(name, folders[160], data=data, **{"advantage.overlong.limit": 50}) as run:
        part = run.plan.advantage["overlong"]
        assert (part.limit, part.buffer) == (50, 10)


def test_a_penalty_beyond_the_answers_is_refused(folders, tmp_path):
    """Also where the context decides: the limit that fits 1,024 tokens does not fit 120."""
    limit = {"advantage.overlong.limit": 300}
    with pytest.raises(
        UserError,
        match=r"counts up to 300 tokens, and answers have room for 96; set advantage\.overlong\.limit=96",
    ):
        changed(recipe("dapo"), limit)
    data = rows(tmp_path / "d.jsonl", *QUESTIONS)
    with pytest.raises(UserError, match=r"answers have room for 120; set advantage\.overlong\.limit=120"):
        built("dapo", folders[160], data=data, **limit).__enter__()
    with pytest.raises(UserError, match="begins 100 tokens before its limit, and answers have room for 96"):
        changed(recipe("dapo"), {"advantage.overlong.buffer": 100})


def test_the_constant_of_drgrpo_follows(folders, tmp_path):
    data = rows(tmp_path / "d.jsonl", *QUESTIONS)
    lengths = {}
    for model, more in ((folders[160], {}), ("base", {}), ("base", {"objective.policy.share.length": 7})):
        with built("drgrpo", model, data=data, **more) as run:
            lengths[model, *more] = run.plan.updates[0].terms["policy"].share.length
    assert list(lengths.values()) == [120, 96, 7]


def quiet(watch: Watcher | None = None):
    return lambda header: nullcontext(watch or Watching())


def test_a_run_records_it_and_all_that_follows_uses_it(folders, tmp_path, monkeypatch):
    """run.json holds the number: --resume, `menon eval` and `menon sample` of the run have it, and a
    repetition with other questions."""
    monkeypatch.chdir(tmp_path)
    data = rows(tmp_path / "d.jsonl", *QUESTIONS)
    words = {"model": folders[160], "data": data, "out": "r", "reward": "exact", **SMALL}
    start("grpo", [words], quiet())
    settings = json.loads(Path("r/run.json").read_text())["settings"]
    assert settings["source"]["max_new_tokens"] == 120
    resume(Path("r"), {"steps": 2}, quiet())
    assert json.loads(Path("r/run.json").read_text())["settings"]["source"]["max_new_tokens"] == 120
    assert as_run({"model": "r"})["max_new_tokens"] == 120
    assert length_of("r") == 120
    (one,) = sample(SampleConfig("r", n=1, device="cpu"), "1+1=")
    assert one.graded.rollout.num_actions <= 120
    start(None, [{"out": "again", "data": rows(tmp_path / "e.jsonl", "1=", "2=", "3=")}], quiet(), settings)
    assert json.loads(Path("again/run.json").read_text())["settings"]["source"]["max_new_tokens"] == 120


def test_evaluations_and_samples_of_a_model(folders):
    asked = {"n": 3, "task": "chain_sum", "device": "cpu"}
    found = {}
    for model in (folders[160], "base"):
        seen: list[EvalConfig] = []
        evaluate(EvalConfig(model=model, **asked_for(asked)), on_ready=seen.append)
        found[model] = seen[0].max_new_tokens
    longest = 160 - (found[folders[160]] or 0)
    assert 7 <= longest <= 20  # 1+2=? to nine terms
    assert found["base"] == 96
    (one,) = sample(SampleConfig(folders[160], n=1, device="cpu", seed=1), "1+1=")
    assert one.graded.rollout.num_actions <= 156
    assert (length_of("base"), length_of(folders[160])) == (96, None)


def asked_for(words):
    from menon.settings import read

    config = read(EvalConfig, words)
    return {name: getattr(config, name) for name in words}


def test_explain_says_it(folders, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["explain", "dapo", f"model={folders[2048]}", "threads=1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "answers up to 1,024 tokens (max_new_tokens; the context of 2,048 leaves room), if no prompt has "
        "more than 128 tokens" in text
    )
    assert "at most 1,024 tokens each, 262,144 in all" in text
    assert main(["explain", "grpo", f"model={folders[160]}", "threads=1"]) == 0
    assert "up to 32 tokens (max_new_tokens; what the context of 160 leaves)" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["explain", "grpo", "model=nobody/has-this", "threads=1"]) == 0
    assert "answers up to 1,024 tokens (max_new_tokens), if no" in " ".join(capsys.readouterr().out.split())
    assert main(["explain", "grpo", f"model={folders[160]}", "full=true"]) == 0
    assert "  max_new_tokens: null\n" in capsys.readouterr().out
