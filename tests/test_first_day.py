"""The commands of docs/first_day.md run as they stand, in one folder and in their order, and say what the
page says of them. Processes of a sweep are calls in this process, which has loaded everything."""

import csv
import json
import re
import runpy
import shlex
import threading
from pathlib import Path
from statistics import mean, stdev

import pytest

from menon.cli import main
from menon.study.sweep import Children
from pages import FIRST_DAY, files_of

MOST = 5
"""Commands of a task."""


def tasks() -> dict[str, list[str]]:
    """Heading -> the commands below it."""
    sections = re.findall(r"(?ms)^## (.*?)\n(.*?)(?=^## |\Z)", FIRST_DAY.read_text(encoding="utf-8"))
    return {head: "".join(re.findall(r"(?s)```sh\n(.*?)```", text)).splitlines() for head, text in sections}


TASKS = tasks()
FIRST, OWN_ADVANTAGE, OWN_MODEL, QUESTIONS = TASKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds the files that the page shows whole, and those that its first program writes."""
    path: Path = tmp_path_factory.mktemp("first_day")
    for name, code in files_of(FIRST_DAY).items():
        (path / name).write_text(code, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        runpy.run_path("make_example.py", run_name="__main__")
    return path


@pytest.fixture
def printed(folder, monkeypatch, capsys):
    """Runs the commands of a task; what each of them has printed."""
    monkeypatch.chdir(folder)
    one_at_a_time = threading.Lock()

    def in_this_process(self, command, log):
        with one_at_a_time:
            return main(command[3:])

    monkeypatch.setattr(Children, "run", in_this_process)

    def run(task: str) -> list[str]:
        found = []
        for line in TASKS[task]:
            program, *words = shlex.split(line)
            if program == "cat":
                print(Path(*words).read_text(encoding="utf-8"))
            else:
                assert program == "menon"
                assert main(words) == 0, capsys.readouterr().err
            found.append(capsys.readouterr().out)
        return found

    return run


def test_a_task_has_few_commands():
    assert len(TASKS) == 4
    assert all(0 < len(commands) <= MOST for commands in TASKS.values())
    assert (
        sum(map(len, TASKS.values())) == FIRST_DAY.read_text(encoding="utf-8").count("\nmenon ") + 1
    )  # one cat


def columns_of(shown: str) -> tuple[list[float], list[float]]:
    """Reward and advantage of each answer of a group."""
    rows = re.findall(r"\n +\d+ +([\d.]+) +\d +\d+ +\w+ +([+-][\d.]+) ", shown)
    return [float(reward) for reward, _ in rows], [float(credit) for _, credit in rows]


def test_grpo_and_its_numbers(printed, folder):
    train, show, explain, helped, _ = printed(FIRST)
    lines = [json.loads(line) for line in (folder / "runs/first/metrics.jsonl").read_text().splitlines()]
    steps = re.findall(
        r"step \d/4  train accuracy ([\d.]+)  reward ([\d.]+)  length +([\d.]+)  entropy +([\d.]+) nats"
        r"  clipped ([\d.]+)  tokens/s",
        train,
    )
    names = ("acc/mean", "reward/mean", "len/mean", "entropy/mean", "clip/frac")
    assert [list(map(float, step)) for step in steps] == [
        [pytest.approx(line[name], abs=0.051 if name == "len/mean" else 5.1e-4) for name in names]
        for line in lines
    ]
    # The advantage is (R - mean) / deviation, as the page works it out.
    rewards, credits = columns_of(show)
    assert len(rewards) == len(credits) == 8
    assert 0 < mean(rewards) < 1
    assert credits == pytest.approx([(r - mean(rewards)) / stdev(rewards) for r in rewards], abs=1e-3)
    assert f"mean {mean(rewards):.3f}, standard deviation {stdev(rewards):.3f} (over n - 1)" in show
    assert "a_i = (R_i - mean of the group) / (std of the group + eps)" in explain
    assert "groups whose answers earned different scores" in helped
    assert "Before and after" in (folder / "runs/first/report.html").read_text(encoding="utf-8")


def test_an_advantage_of_ones_own_over_three_seeds(printed, folder):
    swept, table, compared, show = printed(OWN_ADVANTAGE)
    assert swept.count(": done") == 6
    with open(folder / "sweeps/signs/runs.csv", encoding="utf-8") as opened:
        runs = list(csv.DictReader(opened))
    after = {(run["arm"], run["seed"]): float(run["accuracy_after"]) for run in runs}
    assert len(after) == 6
    difference = mean(after["signs", seed] - after["grpo", seed] for seed in "012")
    for text in (swept, table):
        assert re.search(rf"{re.escape(f'{difference:+.3f}')} ± \d\.\d+ \(3 seeds\)", text)
    found = json.loads(compared.splitlines()[-1])
    assert (found["a"], found["b"]) == pytest.approx((after["grpo", "0"], after["signs", "0"]))
    assert set(columns_of(show)[1]) == {1.0, -1.0}


def test_ones_own_model_data_and_reward(printed, folder, capsys):
    checked, trained, before, after, compared = printed(OWN_MODEL)
    rows = [json.loads(line) for line in (folder / "fragen.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 200
    assert checked.splitlines() == ["right=200 of=200 unreadable=0"]
    numbers = [json.loads(text.splitlines()[-1]) for text in (before, after)]
    found = json.loads(compared.splitlines()[-1])
    assert (found["a"], found["b"]) == pytest.approx(tuple(number["avg@4"] for number in numbers))
    assert found["n"] == 19
    assert found["b"] > found["a"] + 0.1
    assert "on 19 held-out questions" in trained
    runpy.run_path("use_it.py")
    said = capsys.readouterr().out
    assert said.startswith("3+4+5=?\n3+4=7")


def test_from_questions_to_did_it_learn(printed):
    checked, trained, compared, listed = printed(QUESTIONS)
    assert checked.endswith("right=200 of=200 unreadable=0\n")
    found = json.loads(compared.splitlines()[-1])
    assert found["difference"] > 0.2
    assert re.search(rf"accuracy at temperature 1 +{found['a']:.3f} .* > {found['b']:.3f}", trained), trained
    assert "beyond what the choice of questions explains" in compared
    (line,) = [line for line in listed.splitlines() if line.startswith("answers ")]
    assert f"{found['b']:.3f}" in line
