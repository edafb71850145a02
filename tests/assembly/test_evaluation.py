"""The pieces that an evaluation is put together from: questions, rewards, votes."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import menon
from helpers import tiny_model, tiny_tokenizer
from menon.assembly.evaluation import equivalence_of, evaluate, reward_for, some_of
from menon.cli import main
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.eval.config import EvalConfig
from menon.eval.metrics import kinds
from menon.eval.sets import SETS
from menon.record.reader import RunView
from menon.reward.grade import grading_of
from menon.types import Graded, Request, Rollout, Sampling, Verdict
from scripted import complete, question


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A random model with room for long questions."""
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", context=8192), tiny_tokenizer(), path)
    return path


@pytest.fixture
def nothing_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the published checks of IFEval, which are an extra (tests/eval/test_ifeval.py has them)."""

    def follows(asked: list[str], completion: str) -> SimpleNamespace:
        return SimpleNamespace(follow_instruction_list=[False] * len(asked))

    checks = SimpleNamespace(
        InputExample=lambda key, ids, prompt, kwargs: ids,
        test_instruction_following_strict=follows,
        test_instruction_following_loose=follows,
    )
    monkeypatch.setattr("menon.eval.ifeval.published_checks", lambda: checks)
    monkeypatch.setattr("menon.eval.ifeval.find_splitter", lambda: None)


def wrote(text: str) -> Graded:
    request = Request(question(0), Sampling(max_new_tokens=len(text) + 1))
    return Graded(Rollout.of(complete(request, text), 0), Verdict(0.0, 0.0))


def classes(check: str, *texts: str) -> list[int]:
    """Which of the answers vote together."""
    named = next(named for named in SETS.values() if named.check == check)
    with reward_for(EvalConfig(set="x", path="x"), named) as (reward, equivalence):
        assert equivalence is not None
        assert equivalence_of(reward) is not None
        return kinds([equivalence.stated(wrote(text)) for text in texts], equivalence.same).tolist()


def test_votes_are_by_the_verifiers_own_comparison():
    boxes = (
        "\\boxed{\\frac{1}{2}}",
        "\\boxed{0.5}",
        "\\boxed{2}",
        "<think> hm",
        "the answer is 1/2.",
        "\\boxed{\\sqrt{4}}",
    )
    assert classes("math", *boxes) == [0, 0, 1, -1, 0, 1]
    assert classes("choice", "\\boxed{B}", "The answer is (b).", "\\boxed{\\text{C}}", "\\boxed{A or B}") == [
        0,
        0,
        1,
        -1,
    ]
    assert classes("numeric", "\\boxed{100}", "\\boxed{103 J}", "\\boxed{110}") == [0, 0, 1]


def test_no_vote_where_answers_have_no_comparison(nothing_followed):
    for check in ("code", "instructions"):
        named = next(named for named in SETS.values() if named.check == check)
        with reward_for(EvalConfig(set="x", path="x"), named) as (_, equivalence):
            assert equivalence is None


def test_some_questions_are_the_same_for_every_seed_and_model():
    rows = [{"question": str(i), "answer": "1"} for i in range(50)]
    chosen = some_of(rows, EvalConfig(n=10))
    assert chosen == some_of(rows, EvalConfig(n=10, seed=3, model="other", template="abel"))
    assert chosen == sorted(chosen, key=lambda row: int(row["question"]))
    assert len({row["question"] for row in chosen}) == 10
    assert chosen != rows[:10]
    assert some_of(rows, EvalConfig()) == rows


@pytest.mark.parametrize("name", ["gsm8k", "gpqa_diamond", "scibench", "human_eval", "ifeval"])
def test_a_real_set_is_evaluated(name, folder, shared, nothing_followed):
    template = "none" if SETS[name].template == "chat" else None
    config = EvalConfig(
        str(folder),
        set=name,
        path=str(shared / "data"),
        n=3,
        k=2,
        max_new_tokens=6,
        template=template,
        device="cpu",
    )
    told: list[str] = []
    done = evaluate(config, told.append)
    assert told == []
    assert (done.numbers["n"], done.numbers["samples"], done.numbers["avg@2"]["value"]) == (
        3,
        2,
        0.0,
    )  # a random model
    assert done.numbers["failed"] == 0
    assert done.config == replace(config, template=template or SETS[name].template, samples=2)
    assert ("maj@2" in done.numbers) == (SETS[name].check in ("math", "choice", "numeric"))
    assert ("instruction_strict" in done.numbers["parts"]) == (name == "ifeval")


def test_a_file_may_name_its_check(folder, tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"question": "half?", "answer": "1/2"}) + "\n")
    for name, judged in (("math", 1.0), ("exact", 0.0), (None, 0.0)):
        with reward_for(EvalConfig(data=str(file), reward=name), None) as (reward, _):
            assert grading_of(reward).judge(question(0, answer="1/2"), "\\boxed{0.5}").acc == judged


def test_golds_that_nobody_can_meet_are_told_and_kept(folder, tmp_path):
    file = tmp_path / "gpqa_diamond.jsonl"
    rows = [{"question": "Which? (A) x (B) y", "answer": answer} for answer in ("A", "both", "B")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[str] = []
    config = EvalConfig(str(folder), set="gpqa_diamond", path=str(file), max_new_tokens=4, device="cpu")
    assert evaluate(config, told.append).numbers["n"] == 3
    assert told == [
        "the gold answers of 1 of 3 questions earn no reward by this verifier, first that of row 2 ('both'); "
        "no model can be right there"
    ]


TOOL = """
from dataclasses import dataclass

@dataclass
class Tells:
    word: str = "zqj"
    stop = ("7",)

    def reset(self, prompt, seed):
        return ""

    def step(self, text):
        return self.word, 0.0, not text.endswith("7")
"""
REWARD = """
def seven(prompt, completion, answer, **columns):
    right = prompt.startswith("Q ") and "7\\n" in completion
    return {"score": float(right), "told": float("zqj" in completion)}
"""


@pytest.fixture(scope="module")
def tool_run(folder, tmp_path_factory) -> Path:
    """A run of one step with an environment, a template and a reward of its own."""
    path = tmp_path_factory.mktemp("tool")
    (path / "tool.py").write_text(TOOL)
    (path / "score.py").write_text(REWARD)
    rows = [{"question": f"{i}+{i}=", "answer": str(2 * i)} for i in range(60)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    menon.train(
        "grpo",
        model=str(folder),
        data=str(path / "rows.jsonl"),
        template="Q {q}",
        environment=f"{path / 'tool.py'}:Tells",
        reward=f"{path / 'score.py'}:seven",
        max_new_tokens=40,
        steps=1,
        prompts_per_step=2,
        samples_per_prompt=2,
        report_questions=0,
        device="cpu",
        threads=1,
        out=str(path / "run"),
    )
    return path / "run"


def measured(tool_run: Path, model: Path | str, tmp_path: Path, **settings) -> tuple[dict, dict]:
    """The numbers of an evaluation, and the settings that are stored with it."""
    out = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
    numbers = menon.evaluate(str(model), device="cpu", threads=1, out=str(out), **settings)
    return numbers, json.loads(out.read_text())["settings"]


def test_a_run_is_evaluated_as_it_was_trained(tool_run, tmp_path):
    """Its questions, environment, template, length and reward: the numbers of its own evaluations. So are its
    checkpoints, and the model that it started from with run=."""
    view = RunView.open(tool_run)
    for model, step, more in (
        (tool_run, 1, {}),
        (view.layout.checkpoint(1), 1, {}),
        (view.layout.latest, 1, {}),
        (view.settings["models"]["policy"]["model"], 0, {"run": str(tool_run)}),
    ):
        numbers, settings = measured(tool_run, model, tmp_path, **more)
        line = view.evaluation(step)
        assert line is not None
        assert (numbers["n"], numbers["avg@1"]) == (line["n"], line["accuracy"])
        assert numbers["parts"]["told"] == 0
        assert (settings["run"], settings["template"]) == (str(tool_run), "Q {q}")
        assert settings["environment"]["word"] == "zqj"
    assert 0 < line["accuracy"] < 1


def test_a_tool_is_left_out_only_where_that_is_said(tool_run, tmp_path, capsys):
    rows = tool_run.parent / "rows.jsonl"
    other, settings = measured(tool_run, tool_run, tmp_path, data=str(rows), n=8)
    assert settings["environment"]["word"] == "zqj"
    assert (settings["reward"], settings["template"]) == (f"{tool_run.parent / 'score.py'}:seven", "Q {q}")
    assert other["parts"].keys() == {"environment", "observed", "told", "turns"}
    without, settings = measured(tool_run, tool_run, tmp_path, environment=None)
    assert settings["environment"] is None
    assert without["parts"].keys() == {"told"}
    numbers, settings = measured(tool_run, tool_run, tmp_path, graded_text="all")
    assert numbers["parts"]["observed"] >= numbers["parts"]["told"] > 0
    before = (tool_run.parent / "score.py").read_text()
    (tool_run.parent / "score.py").write_text(before + "    # changed\n")
    words = [str(tool_run), "max_new_tokens=2", "device=cpu", "threads=1", f"out={tmp_path / 'changed.json'}"]
    assert main(["eval", *words]) == 0
    assert f"score.py:seven is not what it was when {tool_run} began" in capsys.readouterr().out
    (tool_run.parent / "score.py").write_text(before)
    assert main(["sample", str(tool_run), "1+1=", "n=1", "max_new_tokens=3", "device=cpu", "threads=1"]) == 0
    assert "Tells does not answer here; menon eval uses it" in capsys.readouterr().out


def test_an_environment_without_a_run(folder, tmp_path, capsys):
    """One with questions asks them and grades alone; a tool answers in those of a task."""
    words = [str(folder), "device=cpu", "threads=1", "max_new_tokens=6", "n=4"]
    assert main(["eval", *words, "environment=guess_number", f"out={tmp_path / 'a.json'}"]) == 0
    text = capsys.readouterr().out
    assert "questions  4 of guess_number" in text
    assert "in turns   guess_number, at most 16 turns; the reward reads what the policy wrote" in text
    words += ["environment=calculator", "max_turns=2", f"out={tmp_path / 'b.json'}"]
    assert main(["eval", *words]) == 0
    assert "questions  4 of chain_sum" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "b.json"), str(tmp_path / "b.json")]) == 0


def test_the_questions_of_a_run_that_its_environment_asks(folder, tmp_path):
    menon.train(
        "grpo",
        model=str(folder),
        environment={"kind": "guess_number", "high": 9},
        heldout=5,
        max_new_tokens=8,
        steps=1,
        prompts_per_step=1,
        samples_per_prompt=2,
        report_questions=0,
        device="cpu",
        threads=1,
        out=str(tmp_path / "game"),
    )
    numbers, settings = measured(tmp_path, tmp_path / "game", tmp_path)
    assert (numbers["n"], settings["environment"]["high"]) == (1, 9)
    with pytest.raises(UserError, match="are those of its environment; leave environment=null out"):
        measured(tmp_path, tmp_path / "game", tmp_path, environment=None)
    with pytest.raises(UserError, match="holds no run"):
        measured(tmp_path, folder, tmp_path, run=str(tmp_path / "none"))
