"""`menon runs`: one line for each, with the state that it is in."""

import pytest

from menon.cli import main
from menon.cli.runs import row_of
from menon.loop import loop
from menon.record.folder import RunFolder
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
        assert main(["runs", str(tmp_path)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "run",
        "recipe",
        "model",
        "steps",
        "state",
        "accuracy",
        "after",
        "reward",
        "after",
        "minutes",
        "warnings",
    ]
    cells = [line.split() for line in lines]
    assert [row[:5] for row in cells] == [
        ["a", "grpo", "m", "2/2", "finished"],
        ["b", "grpo", "m", "1/4", "stopped"],
        ["broken", "-", "-", "-", "damaged"],
        ["c", "ppo", "-", "0/9", "running"],
    ]
    with RunFolder.open(tmp_path / "a") as folder:
        before, after = folder.evaluation(0), folder.evaluation(2)
    assert before is not None
    assert after is not None
    assert cells[0][5:9] == [
        f"{side[key]:.3f}[{side[f'{key}_low']:.2f},{side[f'{key}_high']:.2f}]"
        for key in ("accuracy", "reward")
        for side in (before, after)
    ]
    assert cells[1][6] == "-"


def test_a_run_that_goes_on_says_of_which_step_its_number_is(tmp_path):
    with RunFolder.create(tmp_path / "a", {"steps": 9}) as folder:
        folder.record_evaluation(0, {"reward": 0.25})
        folder.record_evaluation(2, {"reward": 0.5, "accuracy": 1.0})
        (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 3}\n')
    cells = row_of(tmp_path / "a")
    assert cells[5:9] == ("-", "-", "0.250", "0.500@2")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "there is no folder nowhere; runs are in runs/ unless out= names another place"),
        (["a", "b"], "runs takes one folder at most: menon runs, or menon runs experiments"),
        (["."], ". holds no runs (no folder with a run.json); start one with menon train"),
    ],
)
def test_mistakes(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["runs", *words]) == 2
    assert capsys.readouterr().err == f"menon: {sentence}\n"
