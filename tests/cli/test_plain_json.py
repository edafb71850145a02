"""`--json`: one line of strict JSON on stdout and nothing else, for the commands that only read."""

import json

import numpy as np
import pytest

from menon.cli import main
from menon.cli.plain_json import json_alone, plain
from menon.loop import loop
from menon.record.folder import RunFolder
from menon.record.reader import RunView
from tiny_run import Watching, tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    with RunFolder.create(path, {"recipe": "grpo", "seed": 3, "steps": 2}) as folder:
        loop(tiny_run(steps=2), folder, Watching())
    return RunView(path)


def printed(capsys, *words):
    """What a command prints as JSON; numbers that are not finite would be refused."""

    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    assert main([*map(str, words), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out, parse_constant=refuse)


def test_values():
    found = plain({"a": [float("inf"), np.float32(0.5)], 1: (np.arange(2), {2}, object)})
    assert found["a"] == [None, 0.5]
    assert found["1"][:2] == [[0, 1], [2]]
    assert isinstance(found["1"][2], str)
    assert json_alone(["a", "--json", "b"]) == (["a", "b"], True)
    assert json_alone(["json=true"]) == (["json=true"], False)


def test_runs(run, capsys):
    (line,) = printed(capsys, "runs", run.path.parent)
    assert (line["run"], line["seed"], line["step"], line["state"]) == ("one", 3, 2, "finished")


def test_show(run, capsys):
    rows = printed(capsys, "show", run.path, "step=2")
    stored = run.transcripts.rows(2, ["completion", "score"])
    assert [(row["completion"], row["score"]) for row in rows] == [
        (row["completion"], row["score"]) for row in stored
    ]
    group = rows[0]["group"]
    inside = printed(capsys, "show", run.path, "step=2", f"group={group}")
    assert inside == [row for row in rows if row["group"] == group]
    (one,) = printed(capsys, "show", run.path, "step=2", f"group={group}", "answer=1")
    assert one["completion"] == inside[1]["completion"]
    logp = run.transcripts.rows(2, ["behaviour_logp", "is_action"], group)[1]
    wanted = [value for value, acts in zip(logp["behaviour_logp"], logp["is_action"], strict=True) if acts]
    assert [token["behaviour_logp"] for token in one["tokens"] if token["is_action"]] == pytest.approx(wanted)
    assert (
        "".join(token["text"] for token in one["tokens"])
        in run.transcripts.rows(2, ["text"], group)[1]["text"]
    )


def test_explain(capsys):
    found = printed(capsys, "explain", "grpo", "steps=7", "updates_per_step=3")
    assert found["settings"]["control"]["steps"] == 7
    assert found["sizes"]["updates"] == 21
    assert main(["explain", "r1", "--json"]) == 2
    assert "--json is about one run" in capsys.readouterr().err


def test_doctor(capsys):
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["good"] else 1)
    assert found["packages"]["numpy"] == np.__version__


def test_forecast(run, capsys):
    found = printed(capsys, "study", "forecast", run.path)
    assert (found["steps"], found["end"]) == (2, 4)
    assert found["sigmoid"] == {"missing": "a forecast needs 8 points and there are 2; let the run go on"}
    assert main(["study", "forecast", str(run.path), "k=2"]) == 2
    assert "takes no setting" in capsys.readouterr().err
