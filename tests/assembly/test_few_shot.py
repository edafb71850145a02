"""Runs that show worked examples before each question."""

import json
from pathlib import Path

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.build import build
from menon.assembly.given import build_given
from menon.assembly.run import resume
from menon.config import changed
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.python import evaluate, train
from menon.recipes import recipe
from menon.report.terminal import terminal


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", 0, context=512), tiny_tokenizer(), path)
    return path


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"question": f"{i}+2=", "answer": f"Add two.\n#### {i + 2}"} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(model: Path, **more) -> dict:
    given = {"model": str(model), "device": "cpu", "threads": 1, "report_questions": 0, "max_new_tokens": 4}
    return given | {"prompts_per_step": 3, "samples_per_prompt": 2, "heldout": 3} | more


def test_examples_stand_before_every_question_and_are_not_asked(model, data):
    config = changed(recipe("grpo"), settings(model, data=str(data), shots=2, template="q_a"))
    with build(config) as run:
        step = run.source.next()
        shown = run.settings["source"]["few_shot"]["examples"]
        held = run.evaluate.func.prompts
    before = "".join(f"Q: {question}\nA: {answer}\n\n" for question, answer in shown)
    asked = [answer.rollout.prompt for answer in step.graded]
    for prompt in [*asked, *held]:
        question = prompt.columns["question"]
        assert prompt.text == f"{before}Q: {question}\nA:"
        assert question not in {q for q, _ in shown}
    assert len(shown) == 2
    assert all(answer.startswith("Add two.\n#### ") for _, answer in shown)


def test_a_resumed_run_and_an_evaluation_show_the_same(model, data, tmp_path):
    out = tmp_path / "run"
    given = settings(model, data=str(data), shots=3, template="q_a", save_every=1)
    train("grpo", **given, steps=1, out=str(out))
    shown = json.loads((out / "run.json").read_text())["settings"]["source"]["few_shot"]["examples"]
    report = resume(out, {"steps": 2}, terminal)
    assert report["steps"] == 2
    evaluate(str(out), out=str(tmp_path / "evaluation.json"))
    about = json.loads((tmp_path / "evaluation.json").read_text())
    assert about["settings"]["few_shot"]["examples"] == shown
    assert about["settings"]["few_shot"]["shots"] == 3


def test_examples_of_a_file(model, data, tmp_path):
    few = tmp_path / "worked.jsonl"
    few.write_text(json.dumps({"question": "3+2=", "answer": "Add.\n#### 5"}) + "\n")
    told = []
    change = {"data": str(data), "few_shot.file": str(few), "shots": 1}
    with build(changed(recipe("grpo"), settings(model, **change)), told.append) as run:
        prompt = run.source.next().graded[0].rollout.prompt
    assert prompt.text.startswith("3+2= Add.\n#### 5\n\n")
    assert "1 questions are examples of few_shot and are not asked" in told


def test_questions_of_a_run_on_given_text(model, data, tmp_path):
    rows = tmp_path / "answers.jsonl"
    rows.write_text(
        "".join(json.dumps({"question": f"{i}*2=", "completion": f" {2 * i}"}) + "\n" for i in range(20))
    )
    change = {"data": str(rows), "source.data": str(data), "source.few_shot.shots": 2, "source.heldout": 3}
    given = {k: v for k, v in settings(model).items() if k != "heldout"}
    with build_given(changed(recipe("sft"), given | change)) as run:
        held = run.evaluate.func.prompts
        shown = run.settings["source"]["few_shot"]["examples"]
    assert len(shown) == 2
    assert all(prompt.text.startswith(f"{shown[0][0]} {shown[0][1]}\n\n") for prompt in held)


def test_what_cannot_be_shown(model, data):
    for change, sentence in (
        ({"task": "chain_sum", "shots": 2}, r"name their file with few_shot\.file=FILE"),
        ({"data": str(data), "shots": 8, "few_shot.file": str(data.parent / "none.jsonl")}, "none.jsonl"),
    ):
        config = changed(recipe("grpo"), settings(model, **change))
        with pytest.raises(UserError, match=sentence), build(config):
            pass
