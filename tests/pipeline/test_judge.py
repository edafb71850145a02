"""The recipe judge: what it labels, keeps apart, reports and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.cli import main
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.pipeline import run as pipelines
from menon.pipeline.label import Label, question_in
from menon.pipeline.plan import planned
from menon.record.reader import RunView
from menon.report.terminal import terminal
from menon.reward.judge import fill
from menon.reward.judge_text import final_step

REWARD = (
    "def odd(prompt, completion, answer, completion_ids):\n    return sum(completion_ids) % 2 == 1\n"
    "def never(prompt, completion, answer):\n    return False\n"
    "def unknown(prompt, completion, answer):\n    return len(completion) / 10\n"
)
PROMPT = "{question}|{final_step}|{reference}:"


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> dict[str, Any]:
    """Settings of the recipe with stages of hundredths of a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("menon.threads.prepare", lambda *_: None)
    export(tiny_model("qwen3"), tiny_tokenizer(), tmp_path / "model")
    questions = [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(24)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (tmp_path / "rewards.py").write_text(REWARD)
    return {
        "model": "model",
        "data": "questions.jsonl",
        "reward": "rewards.py:odd",
        "prompt": PROMPT,
        "threads": 1,
        "device": "cpu",
        "out": "made",
        "explore.steps": 3,
        "label.fresh": 1,
        "judge.steps": 2,
        "prompts_per_step": 8,
        "samples_per_prompt": 3,
        "max_new_tokens": 6,
        "heldout": 4,
        "report_questions": 0,
    }


def start(settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return pipelines.start("judge", [settings, more], terminal, lambda sentence: None)


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_from_exploration_to_agreement(tiny, capsys):
    report = start(tiny)
    rows, cases = lines("made/2_label/rows.jsonl"), lines("made/2_label/cases.jsonl")
    assert {row["answer"] for row in rows} == {"YES", "NO"}
    assert report["stages"]["label"]["kept"] == len(rows)
    assert {case["kind"] for case in cases} == {"fresh", "held out"}
    read = {row["question"] for row in rows}
    asked = [fill(PROMPT, (case["question"], case["response"], case["gold"])) for case in cases]
    assert not read & set(asked)
    assert len(set(asked)) == len(asked)
    found = report["stages"]["agree"]["kinds"]
    for kind, numbers in found.items():
        mine = [case["expected"] for case in cases if case["kind"] == kind]
        assert numbers["cases"] == len(mine)
        assert numbers["unparsable"] == len(mine)  # a judge of two steps replies with bytes
        assert numbers["agreement"] == pytest.approx(mine.count(False) / len(mine))
        assert numbers["bins"] == []
    # The same numbers by the command, for all cases together.
    words = ["made/2_label/cases.jsonl", "model=made/3_judge/checkpoints/latest"]
    assert main(["check", "judge", *words, "prompt=made/2_label/prompt.txt"]) == 0
    share = sum(not case["expected"] for case in cases) / len(cases)
    assert f"agreement {share:.3f}" in capsys.readouterr().out


def test_labels_are_what_the_run_said(tiny):
    """Of each stated result the newest label; what is no result is in no row."""
    start(tiny, skip=["judge", "agree"])
    view, said = RunView.open("made/1_explore"), {}
    for step in (1, 2):
        for row in view.transcripts.rows(step, ["prompt", "completion", "answer", "acc"]):
            if result := final_step("", row["completion"]):
                triple = (row["prompt"], result, row["answer"])
                said[fill(PROMPT, triple)] = "YES" if row["acc"] == 1 else "NO"
    rows = lines("made/2_label/rows.jsonl")
    assert len(rows) > 20
    assert {row["question"]: row["answer"] for row in rows} == said


def test_models_of_the_stages():
    names = ["explore", "label", "judge", "agree"]
    built_in = planned("judge", [{}]).stages
    assert list(built_in) == names
    other = planned("judge", [{"model": "m", "labeller": "large", "student": "small"}]).stages
    assert other["explore"].settings["source"]["reward"]["model"] == "large"
    models = [
        one[stage].settings["models"]["policy"]["model"]
        for one in (built_in, other)
        for stage in ("explore", "judge")
    ]
    assert models == ["base", "base", "m", "small"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reward": "rewards.py:never", "explore.stop_without_signal": False}, "stage label: all .* are NO"),
        ({"reward": "rewards.py:unknown"}, "stage label: the run says of no answer whether it is right"),
        ({"label.fresh": 3}, "stage label: the run has 3 steps, and the last 3 are kept apart"),
        ({"prompt": "{question}"}, "lacks {final_step} and {reference}"),
        ({"label.fresh": 0}, "fresh"),
        ({"skip": ["label"]}, "stage judge reads what label makes .* and label is skipped"),
    ],
)
def test_refused(changes, said, tiny):
    with pytest.raises(UserError, match=said):
        start(tiny, **changes)


@pytest.mark.parametrize(
    ("prompt", "template", "question"),
    [
        ("3+4=", "none", "3+4="),
        ("Q: 3+4=\nA:", "Q: {q}\nA:", "3+4="),
        ("3+4=", "Q: {q}\nA:", "3+4="),
        ("<|user|>3+4=", "chat", "<|user|>3+4="),
    ],
)
def test_questions_without_their_template(prompt, template, question):
    assert question_in(prompt, template) == question


def test_a_label_needs_a_whole_prompt():
    with pytest.raises(UserError, match=r"the judge's prompt lacks \{reference\}"):
        Label("run", "{question} {final_step}")
