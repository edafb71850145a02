"""The files of docs/your_own.md do what the page says, alone and in runs."""

import json
import math

import pytest
import torch

from batches import random_batch
from helpers import prompt
from menon.batch import Batch
from menon.cli import main
from menon.user_code import load_object
from pages import YOUR_OWN, files_of

FILES = files_of(YOUR_OWN)
SHORT = [
    "threads=1",
    "steps=1",
    "prompts_per_step=4",
    "samples_per_prompt=4",
    "max_new_tokens=16",
    "heldout=4",
]
"""A step of 16 short answers, about a second."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)


@pytest.mark.parametrize(
    "settings",
    [
        [
            "reward=my_reward.py:score",
            "advantage.credit=my_advantage.py:Median",
            "advantage.credit.scale=2",
            "objective.policy.loss=my_loss.py:Squeezed",
            "objective.policy.select=my_selection.py:Unsure",
            "updates_per_step=2",
        ],
        ["task=my_task.py:Rising", "task.largest=7"],
        ["environment=my_environment.py:Again"],
    ],
    ids=["reward, advantage, loss and selection", "task", "environment"],
)
def test_a_run_uses_them(settings, capsys, tmp_path):
    assert main(["train", "grpo", *SHORT, "report_questions=0", "out=run", *settings]) == 0, (
        capsys.readouterr().err
    )
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    used = {name.partition("=")[2] for name in settings if ".py:" in name}
    assert {str(name).rpartition("/")[2] for name in about["settings"]["own_code"]} == used
    (step,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert step["update/skipped"] == 0


def test_every_section_has_its_file_and_a_command():
    text = YOUR_OWN.read_text(encoding="utf-8")
    for stage in ("a reward", "an advantage", "a loss", "a selection", "a task", "an environment"):
        name = f"my_{stage.split()[1]}.py"
        assert f"## {stage.capitalize()}\n\n```python\n# {name}\n" in text
        assert f"={name}:" in text


def test_the_reward_pays_for_short_answers():
    score = load_object("my_reward.py:score")
    assert score("2+2=?", "#4", "4") == {"score": 1 + 5 / 12, "acc": 1.0}
    assert score("2+2=?", "#5", "4") == {"score": 0.0, "acc": 0.0}


def test_the_advantage_is_the_distance_from_the_median():
    """Rewards 1 and 3 of two answers: torch takes the lower one, 1, for their median."""
    batch = random_batch(2)
    batch.reward[batch.offset[1:] - 1] = torch.tensor([1.0, 3.0])
    credit = load_object("my_advantage.py:Median")(scale=2)(batch).advantage
    second = torch.arange(batch.num_tokens) >= batch.offset[1]
    assert torch.equal(credit, torch.where(batch.trained & second, 4.0, 0.0))


def test_the_loss_and_the_selection_by_hand():
    """Log-ratio ln 2 and advantage 3: -3 * 2 + .25 ln(2)^2. Of probabilities .9 and .99 one is below .95."""
    batch = Batch(
        offset=torch.tensor([0, 2]),
        token=torch.tensor([1, 2]),
        is_action=torch.tensor([True, True]),
        reward=torch.zeros(2),
        group=torch.tensor([0]),
        finish=torch.tensor([0]),
        valid=torch.tensor([True]),
        acc=torch.zeros(1),
        behaviour_logp=torch.tensor([0.9, 0.99]).log(),
        old_logp=torch.tensor([-1.0, -1.0]),
        advantage=torch.tensor([3.0, 0.0]),
    )
    loss = load_object("my_loss.py:Squeezed")()(
        {"logp": batch.old_logp + torch.tensor([math.log(2), 0])}, batch
    )
    assert loss.tolist() == pytest.approx([-6 + 0.25 * math.log(2) ** 2, 0])
    assert load_object("my_selection.py:Unsure")()(batch).tolist() == [True, False]


def test_the_task_holds_questions_out():
    task = load_object("my_task.py:Rising")(largest=5)
    rows = {split: task.rows(split, task.room(split), 0) for split in ("train", "heldout")}
    questions = {split: {row["question"] for row in found} for split, found in rows.items()}
    assert questions["heldout"] == {"1+2+3=?", "1+4+5=?"}
    assert len(questions["train"]) == 8
    assert not questions["train"] & questions["heldout"]
    assert task.rows("train", 3, 1) == task.rows("train", 3, 1)
    assert task.grade("1+2+3=?", "1+2=3\n3+3=6\n#6", "6") == 1


def test_the_environment_ends_when_the_answer_is_right():
    environment = load_object("my_environment.py:Again")(tries=2)
    assert environment.reset(prompt(0, "2+2=?", "4"), 0) == ""
    assert environment.step("#5") == ("\nwrong, again\n", 0.0, False)
    assert environment.step("#4")[2]
    environment.reset(prompt(0, "2+2=?", "4"), 0)
    assert [environment.step("#5")[2] for _ in range(2)] == [False, True]
