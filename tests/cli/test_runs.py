"""`menon runs`: one line for each, with the state that it is in and the settings that differ."""

import csv
import json

import pytest

import menon
from menon.cli import main
from menon.loop import loop
from menon.recipes import recipe
from menon.record.folder import RunFolder
from menon.settings import plain_data
from tiny_run import Watching, tiny_run


def test_states_and_numbers(tmp_path, capsys):
    for name, steps, most in (("a", 2, 9), ("b", 4, 1)):
        with RunFolder.create(tmp_path / name, {"recipe": "grpo", "model": "m", "steps": steps}) as folder:
            watch = Watching()
            loop(
                tiny_run(steps=steps), folder, watch, lambda watch=watch, most=most: len(watch.steps) >= most
            )
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    with RunFolder.create(tmp_path / "c", {"recipe": "ppo", "steps": 9}):
        assert main(["runs", str(tmp_path), f"csv={tmp_path / 'o.csv'}"]) == 0
        live = menon.runs(tmp_path)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:8] == ["run", "recipe", "model", "seed", "steps", "state", "accuracy", "accuracy"]
    assert head.split()[-3:] == ["training", "minutes", "warnings"]
    cells = [line.split() for line in lines]
    assert [row[:6] for row in cells] == [
        ["a", "grpo", "m", "-", "2/2", "finished"],
        ["b", "grpo", "m", "-", "1/4", "stopped"],
        ["broken", "-", "-", "-", "0/?", "damaged"],
        ["c", "ppo", "-", "-", "0/9", "running"],
    ]
    with RunFolder.open(tmp_path / "a") as folder:
        before, after, last = folder.evaluation(0), folder.evaluation(2), folder.metrics()[-1]
    assert before is not None
    assert after is not None
    assert cells[0][6].startswith(f"{before['accuracy']:.3f}")
    assert f"{after['accuracy']:.3f}" in lines[0]
    assert f"accuracy {last['acc/mean']:.3f}" in lines[0]
    first = live[0]
    assert (first["run"], first["step"], first["after_step"], first["state"]) == ("a", 2, 2, "finished")
    assert first["after"].get("accuracy") == after["accuracy"]
    assert first["training"] == ("accuracy", last["acc/mean"])
    assert menon.metrics(tmp_path / "a")[-1]["acc/mean"] == last["acc/mean"]
    assert all(
        type(value) in (int, float) for line in menon.metrics(tmp_path / "a") for value in line.values()
    )
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert (rows[0]["step"], rows[0]["steps"], float(rows[0]["accuracy after"])) == (
        "2",
        "2",
        after["accuracy"],
    )
    assert rows[2]["accuracy"] == ""


def written(folder, name, recipe_name, *, seed=0, accuracy=None, low=None, **changes):
    """A run's folder with settings, and perhaps an evaluation after step 1 of 2."""
    tree = plain_data(recipe(recipe_name))
    for path, value in changes.items():
        *above, last = path.split("__")
        table = tree
        for key in above:
            table = table[key]
        table[last] = value
    tree["control"] |= {"seed": seed, "out": name, "steps": 2}
    tree["recipe"] = recipe_name
    path = folder / name
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"format": 2, "settings": tree}))
    if accuracy is not None:
        line = {"step": 1, "accuracy": accuracy, "accuracy_low": low, "accuracy_high": low and low + 0.1}
        (path / "evaluations.jsonl").write_text(json.dumps(line) + "\n")


def test_settings_that_differ_have_columns(tmp_path, capsys):
    """What follows from a recipe's name has none; a setting of one recipe that was changed has one."""
    written(tmp_path, "a", "grpo", accuracy=0.25, low=0.2)
    written(tmp_path, "b", "grpo", seed=1, models__policy__optimiser__learning_rate=1e-4, accuracy=0.5)
    assert [one["differs"] for one in menon.runs(tmp_path)] == [
        {"learning_rate": recipe("grpo").models.policy.optimiser.learning_rate},
        {"learning_rate": 1e-4},
    ]
    written(tmp_path, "c", "drgrpo")
    written(tmp_path, "d", "ppo")
    assert [set(one["differs"]) for one in menon.runs(tmp_path)] == [{"learning_rate"}] * 4
    assert main(["runs", str(tmp_path), "--sort", "-after"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert "learning_rate" in head
    assert [line.split()[0] for line in lines] == ["b", "a", "c", "d"]
    assert "0.250 (0.20 to 0.30) at 1" in lines[1]
    assert main(["runs", str(tmp_path), "sort=seed"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["a", "c", "d", "b"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "there is no folder nowhere; runs are in runs/ unless out= names another place"),
        (
            ["a", "b"],
            "runs takes one folder at most: menon runs, or menon runs experiments sort=-after csv=runs.csv",
        ),
        (["."], ". holds no runs (no folder with a run.json); start one with menon train"),
        (["here", "sort=stats"], "there is no column 'stats'; did you mean 'state'?"),
        (["here", "csv=no/where.csv"], "csv is no/where.csv; name a file in a folder that exists"),
    ],
)
def test_mistakes(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    written(tmp_path / "here", "a", "grpo")
    assert main(["runs", *words]) == 2
    assert capsys.readouterr().err == f"menon: {sentence}\n"
