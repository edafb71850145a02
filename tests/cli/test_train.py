"""The command from words to a finished run, and from a run folder to the same run again."""

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest

import menon
from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.assembly.header import asked_in, reward_in_words, rule_in_words
from menon.assembly.run import configured
from menon.cli import main
from menon.cli.command import asked_by
from menon.config import changed
from menon.engines.hf_models import export
from menon.recipes import recipe
from menon.record.folder import RunFolder
from menon.reward.parts import RewardPart

REWARD = "def half(prompt, completion, answer, completion_ids):\n    return float(sum(completion_ids) % 2)\n"

RIDDLES = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Riddles:
    def reset(self, prompt, seed): ...
    def step(self, text): ...
    def rows(self, split, n, seed): ...
    def room(self, split): ...
"""
"""An environment that asks questions of its own."""
ASKS = """
def score(prompt, completion, answer):
    return 1.0

@dataclass(frozen=True)
class Asks:
    def rows(self, split, n, seed): ...
    def room(self, split): ...
    def grade(self, prompt, completion, answer, **columns):
        \"\"\"Whether the riddle is solved. And more.\"\"\"
"""
"""A function and a task of the user's."""


@pytest.fixture
def words(tmp_path, monkeypatch) -> list[str]:
    """A tiny run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("menon.assembly.questions.TASK_ROWS", 50)
    monkeypatch.setattr("menon.threads.prepare", lambda *_: None)
    export(
        tiny_model("qwen3", vocab=len(ALPHABET) + 1), tiny_tokenizer(len(ALPHABET) + 1), tmp_path / "model"
    )
    (tmp_path / "rewards.py").write_text(REWARD)
    (tmp_path / "small.yaml").write_text(
        "steps: 2\nprompts_per_step: 4\nsamples_per_prompt: 4\nheldout: 3\nmax_new_tokens: 6\nreward: "
        "rewards.py:half\n"
    )
    return ["train", "grpo", "small.yaml", "model=model", "threads=1", "device=cpu", "learning_rate=1e-2"]


def fingerprints(folder: str) -> list[str]:
    return [
        json.loads(line)["fingerprint"] for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()
    ]


def test_a_run_from_words_to_report(words, capsys):
    assert main([*words, "out=a"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for part in (
        "model    model, 5,",
        "learning rate 0.01",
        "1 thread (as asked)",
        "step 2/2",
        "held out, before:",
    ):
        assert part in printed.out
    report = json.loads(Path("a/report.json").read_text())
    assert report["steps"] == 2
    assert report.keys() >= {"wall_s", "generated_tokens", "before", "after", "drift"}
    assert report["before"].keys() & report["after"].keys() >= {"accuracy", "best_accuracy", "probe_n"}
    assert Path("a/report.html").read_text().startswith("<!doctype html>")
    settings = json.loads(Path("a/run.json").read_text())["settings"]
    assert (settings["engine"]["threads"], settings["recipe"]) == (1, "grpo")
    assert settings["models"]["policy"]["optimiser"]["learning_rate"] == 1e-2
    assert list(settings["own_code"]) == ["rewards.py:half"]


def test_run_json_alone_repeats_the_run(words, capsys):
    assert (
        main(
            [
                *words,
                "out=a",
                "objective.kl={loss: kl, share: token_mean}",
                "reference=frozen",
                "advantage.whiten=whiten",
            ]
        )
        == 0
    )
    assert main(["train", "a/run.json", "out=b"]) == 0
    assert main(["train", "a/run.json", "out=c", "seed=5"]) == 0
    assert len(set(fingerprints("a"))) == 2
    assert fingerprints("b") == fingerprints("a")
    assert fingerprints("c") != fingerprints("a")
    capsys.readouterr()
    assert main(["train", "ppo", "a/run.json", "out=d"]) == 2
    assert "leave one of them out" in capsys.readouterr().err


def test_a_finished_run_can_go_on(words, capsys):
    assert main([*words, "out=a"]) == 0
    assert main(["train", "--resume", "a", "steps=3"]) == 0
    assert "going on after step 2" in capsys.readouterr().out
    assert main([*words, "out=b", "steps=3"]) == 0
    assert fingerprints("a") == fingerprints("b")
    assert main([*words, "out=a"]) == 2  # two runs in one folder


def test_a_resumed_run_keeps_its_settings_and_names_the_run_that_may_have_others(words, capsys):
    assert main([*words, "out=a", "steps=1"]) == 0
    for change, said in {
        "stepz=3": "unknown setting 'stepz'; did you mean 'steps'?",
        "max_steps=3": "max_steps is steps here",
    }.items():
        capsys.readouterr()
        assert main(["train", "--resume", "a", change]) == 2
        assert capsys.readouterr().err == f"menon: {said}\n"
    assert (
        main(["train", "--resume", "a", "control.steps=3", "models.policy.optimiser.learning_rate=1e-3"]) == 2
    )
    told = capsys.readouterr().err
    assert told.startswith(
        "menon: a resumed run keeps its 'models.policy.optimiser.learning_rate'; only steps, minutes, "
    )
    command = told.rpartition("train the policy of step 1 with another as a new run: `menon ")[2].rstrip(
        "`\n"
    )
    assert command == (
        "train a/run.json model=a/checkpoints/latest out=a-2 models.policy.optimiser.learning_rate=1e-3"
    )
    assert main(command.split()) == 0
    settings = json.loads(Path("a-2/run.json").read_text())["settings"]
    assert settings["models"]["policy"]["optimiser"]["learning_rate"] == 1e-3


def test_a_run_that_is_running_is_left_alone(words, capsys):
    assert main([*words, "out=a", "steps=1"]) == 0
    (Path("a") / "report.json").unlink()
    with RunFolder.open("a"):
        assert main([*words, "out=a"]) == 2
    assert capsys.readouterr().err == ("menon: a holds a run that is running now; set out= to a new folder\n")


def test_changed_code_of_the_users_is_noticed(words, capsys):
    assert main([*words, "out=a"]) == 0
    Path("rewards.py").write_text(REWARD + "\n# edited\n")
    assert main(["train", "--resume", "a", "steps=3"]) == 2
    told = capsys.readouterr().err
    assert "rewards.py:half has changed, and 2 steps of a learned from the old code" in told
    command = told.rpartition("as a new run: `menon ")[2].rstrip("`\n")
    assert command == "train a/run.json model=a/checkpoints/latest out=a-2"
    assert main([*command.split(), "steps=1"]) == 0
    Path("rewards.py").unlink()
    assert main(["train", "--resume", "a", "steps=3"]) == 2
    assert "menon: rewards.py:half is not found, and 2 steps of a learned from" in capsys.readouterr().err


def test_recorded_steps_are_not_lost_with_the_checkpoints(words, capsys):
    """Neither where the reward changed too, nor by a later try."""
    assert main([*words, "out=a"]) == 0
    shutil.rmtree("a/checkpoints")
    kept = {file: file.read_bytes() for file in Path("a").rglob("*") if file.is_file()}
    for edit in ("", "\n# edited\n"):
        Path("rewards.py").write_text(REWARD + edit)
        assert main(["train", "--resume", "a", "steps=3"]) == 2
        assert capsys.readouterr().err == (
            "menon: a has 2 recorded steps and no checkpoint to go on from; put its checkpoints back, or "
            "start a new run: `menon train a/run.json out=a-2`\n"
        )
        assert {file: file.read_bytes() for file in Path("a").rglob("*") if file.is_file()} == kept
    assert main(["train", "a/run.json", "out=a-2", "steps=1"]) == 0


def test_a_run_is_resumed_from_the_folder_that_it_began_in(words, tmp_path, monkeypatch, capsys):
    assert main([*words, "out=a"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume = ["train", "--resume", "../a", "steps=3"]
    assert main(resume) == 2
    assert capsys.readouterr().err == (
        f"menon: rewards.py is not here; the run began in {tmp_path}, so resume it there\n"
    )
    shutil.copy("../rewards.py", ".")
    assert main(resume) == 2
    assert f"menon: model is not here; the run began in {tmp_path}, so" in capsys.readouterr().err
    Path("rewards.py").unlink()
    assert main(resume) == 2
    assert "menon: rewards.py is not here; the run" in capsys.readouterr().err
    about = json.loads(Path("../a/run.json").read_text())
    (code,) = about["settings"]["own_code"].values()
    about["settings"]["own_code"] = {"rewards:half": code}
    Path("../a/run.json").write_text(json.dumps(about))
    assert main(resume) == 2
    assert "menon: rewards.py is not here; the run" in capsys.readouterr().err
    about["settings"]["own_code"] = {"rewards.py:half": code}
    del about["began_in"]  # as an earlier menon wrote it
    Path("../a/run.json").write_text(json.dumps(about))
    assert main(resume) == 2
    assert "rewards.py is not in this folder; resume the run from the folder" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume", "a", "steps=3"]) == 0


def test_a_repaired_reward_goes_on_where_nothing_was_learned(words, capsys):
    """It fails in the first evaluation; the folder is free for a new run, and the run itself goes on."""
    assert main([*words, "out=b"]) == 0
    Path("rewards.py").write_text(REWARD.replace("return", "1 / 0\n    return"))
    assert main([*words, "out=a"]) == 2
    assert capsys.readouterr().err.endswith("go on with `menon train --resume a`\n")
    Path("rewards.py").write_text(REWARD)
    assert main([*words, "out=a", "steps=1"]) == 0
    Path("rewards.py").write_text(REWARD.replace("return", "1 / 0\n    return"))
    assert main([*words, "out=c"]) == 2
    Path("rewards.py").write_text(REWARD)
    assert main(["train", "--resume", "c"]) == 0
    assert fingerprints("c") == fingerprints("b")
    assert fingerprints("a") == fingerprints("b")[:1]


def test_a_resumed_run_keeps_its_later_settings(words, monkeypatch, capsys):
    assert main([*words, "out=a", "steps=1"]) == 0
    import menon.loop as module

    real = module.improve
    monkeypatch.setattr("menon.loop.improve", lambda *_: (_ for _ in ()).throw(MemoryError()))
    assert main(["train", "--resume", "a", "steps=2", "save_every=1"]) == 2
    monkeypatch.setattr("menon.loop.improve", real)
    assert main(["train", "--resume", "a"]) == 0
    control = json.loads(Path("a/run.json").read_text())["settings"]["control"]
    assert (len(fingerprints("a")), control["steps"], control["save_every"]) == (2, 2, 1)
    assert main(["train", "--resume", "a", "steps=1"]) == 2
    assert "a has done 2 steps already; set steps= to 2 or more" in capsys.readouterr().err


def test_held_out_questions_and_answers_do_not_change_with_the_seed(words):
    before = []
    for name, change in (("a", "seed=0"), ("b", "seed=1"), ("c", "heldout_seed=1")):
        assert main([*words, f"out={name}", "steps=1", change]) == 0
        rows = menon.record.transcripts.read_transcript(Path(name) / "evaluations" / "step_000000.parquet")
        before.append([(row["prompt"], row["completion"]) for row in rows])
    assert before[0] == before[1]
    assert {question for question, _ in before[2]} != {question for question, _ in before[0]}


def test_the_same_from_python(words, capsys):
    def reward(prompt, completion, answer, completion_ids):
        return float(sum(completion_ids) % 2)

    assert main([*words, "out=a"]) == 0
    settings = {"steps": 2, "prompts_per_step": 4, "samples_per_prompt": 4, "heldout": 3, "max_new_tokens": 6}
    report = menon.train(
        "grpo", model="model", out="b", threads=1, device="cpu", learning_rate=1e-2, reward=reward, **settings
    )
    assert fingerprints("a") == fingerprints("b")
    assert report["after"] == json.loads(Path("b/report.json").read_text())["after"]
    with pytest.raises(menon.errors.UserError, match="did you mean 'steps'"):
        menon.train(stepz=2)


def test_a_fault_in_mid_run_is_one_line(words, monkeypatch, capsys):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr("menon.loop.improve", fail)
    assert main([*words, "out=a"]) == 2
    assert (
        capsys.readouterr().err
        == "menon: out of memory; lower tokens_per_forward and slots, or take a smaller model\n"
    )
    assert json.loads(Path("a/run.json").read_text())["settings"]["control"]["steps"] == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "chain_sum"),
        (["data=mine.jsonl", "reward=math"], "mine.jsonl"),
        (["task=countdown", "task.difficulty=3"], "countdown"),
        (["environment=calculator"], "chain_sum, environment calculator"),
        (["environment=riddles.py:Riddles"], "Riddles"),
    ],
)
def test_the_header_says_what_is_asked(words, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "riddles.py").write_text(RIDDLES)
    asked = asked_by(["grpo", *words])
    assert asked_in(configured(asked.recipe, asked.changes, 1).source) == line


STATED = r"after Answer: or ####, in \boxed{} or <answer>,"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "the task's own: 1.0 if the completion ends with # and exactly the right digits"),
        (["data=mine.jsonl"], f"exact: the result {STATED} equals the gold answer"),
        (["data=mine.jsonl", "reward=math"], f"math: the result {STATED} equals the gold answer by mathem"),
        (["reward=choice"], f"choice: the letter {STATED} is the gold one"),
        (["reward=code"], "code: the program in the answer passes all tests of its row"),
        (
            ["reward.kind=judge", "reward.model=some/judge"],
            "judge (some/judge): a language model decides wheth",
        ),
        (["reward={kind: mix, parts: {math: 1, format: .5}}"], "mix: 1 math + 0.5 format"),
        (["reward=riddles.py:score"], "own: riddles.py:score"),
        (["task=riddles.py:Asks"], "the task's own: whether the riddle is solved"),
        (["environment=calculator"], "the task's own: 1.0 if"),
        (["environment=riddles.py:Riddles"], "the environment's own: the sum of what Riddles gives"),
    ],
)
def test_the_header_names_the_rule_that_decides(words, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "riddles.py").write_text(RIDDLES + ASKS)
    asked = asked_by(["grpo", *words])
    assert reward_in_words(configured(asked.recipe, asked.changes, 1).source).startswith(line)


@pytest.mark.parametrize("kind", sorted(part.kind for part in get_args(RewardPart)))
def test_help_and_header_say_the_same_of_a_rule(kind, capsys):
    """The first sentence of its docstring, in one line of at most 120 characters."""
    (part,) = (part for part in get_args(RewardPart) if part.kind == kind)
    told = rule_in_words(part)
    assert told.startswith(f"{kind}: ")
    assert len(told) <= 120
    assert main(["help", kind]) == 0
    shown = " ".join(capsys.readouterr().out.replace("`", "").split())
    assert told.removeprefix(f"{kind}: ")[1:] in shown


def test_a_function_is_named():
    def my_score(prompt, completion, answer):
        return 1.0

    source = changed(recipe("grpo"), {"reward": my_score}).source
    assert reward_in_words(source) == "own: my_score"
