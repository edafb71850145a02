"""The grammar of the command: one function for every command."""

from pathlib import Path

import pytest

from menon.cli import main
from menon.cli.words import check_once, understand
from menon.errors import UserError


def test_kinds_of_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = understand(
        ["base", "k=8", "--tree", "12", "task.steps=3", "more", "--resume=a=b"], ("tree", "resume")
    )
    assert found.plain == ("base", "more")
    assert found.overrides == ({"k": "8"}, {"task.steps": "3"})
    assert found.settings == {"k": "8", "task": {"steps": "3"}}
    assert found.options == {"tree": "12", "resume": "a=b"}
    assert understand(["x", "--tree"], ("tree",)).options == {"tree": ""}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["train", "grpo", "data=a.jsonl", "steps=3", "data=b.jsonl"],
            "data is given twice, as a.jsonl and as b.jsonl; put the rows of both into one file",
        ),
        (["eval", "base", "k=2", "k=4"], "k is given twice, as 2 and as 4; give it once"),
        (["sweep", "arms.a1=x", "arms.a1=y"], "arms.a1 is given twice, as x and as y; give it once"),
        (
            ["explain", "optimiser.eps=1", "optimiser.eps=2"],
            "optimiser.eps is given twice, as 1 and as 2; give",
        ),
    ],
)
def test_one_setting_with_two_values(words, sentence, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"menon: {sentence}")


def test_one_setting_twice_with_one_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_once(["a=1", "a=1", "b=2", "3+4=?", "3+4=5"])
    Path("a=2").touch()
    check_once(["a=1", "a=2"])


def test_later_settings_win():
    assert understand(["k=1", "task=a", "task.n=2", "k=3"]).settings == {
        "k": "3",
        "task": {"kind": "a", "n": "2"},
    }


def test_a_file_whose_name_holds_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1.json").write_text("{}")
    assert understand(["a=1.json", "b=1.json"]).plain == ("a=1.json",)


def test_sentences_may_hold_equals_signs():
    found = understand(["base", "3+4=?", "what is a = b?", "n=2"], sentences=True)
    assert found.plain == ("base", "3+4=?", "what is a = b?")
    assert found.settings == {"n": "2"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--steps=3"], "there is no option --steps; settings are written without dashes, like steps=20"),
        (["-n", "3"], "there is no option -n; settings are written without dashes, like steps=20"),
        (["=3"], "'=3' is not a setting; write key=value without spaces around '=', like steps=20"),
    ],
)
def test_mistakes(words, sentence):
    with pytest.raises(UserError) as error:
        understand(words, ("tree",))
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["explain", "--k"], "there is no option --k; settings are written without dashes, like steps=20"),
        (["eval", "base", "--k=2"], "there is no option --k; settings are written without dashes, like k=8"),
        (
            ["sample", "base", "--n", "2"],
            "there is no option --n; settings are written without dashes, like k=8",
        ),
        (
            ["study", "entropy", "--k"],
            "there is no option --k; settings are written without dashes, like k=8",
        ),
        (
            ["compare", "a", "b", "k=8"],
            "compare takes two results of `menon eval`, one run or more, or sets of runs",
        ),
        (
            ["rescore", "a", "--rewrd", "b"],
            "menon rescore takes no option '--rewrd'; it takes a run's folder and",
        ),
        (
            ["rescore", "a", "--reward", "b", "k=1"],
            "menon rescore takes a run's folder and a reward, like menon",
        ),
        (
            ["show", "a", "--tree", "1"],
            "there is no option --tree; menon show takes a run's folder, a step, and maybe a group",
        ),
        (["show", "a", "step=1", "k=1"], "menon show takes a run's folder, a step, and maybe a group and an"),
        (
            ["check", "data", "a", "--reward=b"],
            "menon check takes no option '--reward'; settings are key=value",
        ),
        (
            ["check", "verifier", "a", "b"],
            "menon check takes what to check and a file, like menon check verifier cases.jsonl, menon check",
        ),
        (["check", "verifier", "a", "k=b"], "menon check verifier takes no 'k'; it takes reward, ways, as"),
        (["check", "data", "grop"], "there is no recipe 'grop'; did you mean 'grpo'?"),
        (["check", "data", "questions"], "there is no file questions (looked from "),
        (["check", "data", "a.csv", "b.csv"], "the questions are named twice, a.csv and b.csv; leave one of"),
        (
            ["check", "data", "a.csv", "task=sorting"],
            "the questions are named twice, a.csv and task=sorting;",
        ),
        (
            ["check", "data", "a.csv", "template=chat"],
            "'template' belongs to a dry run, which needs model=; without a model, menon check data FILE",
        ),
        (["check", "data", "a.csv", "grpo"], "'grpo' belongs to a dry run, which needs model=; without a"),
        (["check", "data", "a.csv", "n=4"], "'n' belongs to a dry run, which needs model=; without a model"),
        (["check", "data", "a.csv", "reward.kind=math"], "'reward.' belongs to a dry run, which needs"),
        (["check", "data", "a.csv", "columns.q=b"], "unknown setting 'columns.q'"),
        (["check", "data", "--resume", "a"], "a dry run is of a run that has not begun; leave --resume out"),
        (["check", "data", "n=0"], "n is 0; it must be at least 1"),
        (["check", "data", "stepz=3"], "unknown setting 'stepz'; did you mean 'steps'?"),
        (["report", "a", "k=1"], "report takes the folder of a run, several of them, or that of a sweep"),
        (["runs", "--all"], "there is no option --all; runs takes sort=COLUMN and csv=FILE"),
        (["runs", "k=1"], "runs takes one folder at most: menon runs, or menon runs experiments sort="),
        (["doctor", "k=1"], "menon doctor takes no settings; leave 'k=1' out"),
    ],
)
def test_each_command_in_one_sentence(words, sentence, capsys):
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"menon: {sentence}")
    assert printed.count("\n") == 1
