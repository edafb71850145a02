"""The reader of run folders: what the present format holds, a folder that format 1 left, and folders that are
no use."""

import json
import shutil
from pathlib import Path

import pytest

from menon.cli import main
from menon.errors import UserError
from menon.loop import loop
from menon.record.folder import RunFolder
from menon.record.reader import FORMAT, DamagedRun, NewerFormat, NoRun, RunView
from menon.settings import setting
from tiny_run import Watching, opened, tiny_run

FORMAT_1 = Path(__file__).parents[1] / "data" / "format_1"
"""Two steps of GRPO by menon 0.1.0 on a random model; optimiser state and report.html are left out."""


@pytest.fixture
def old(tmp_path, monkeypatch) -> Path:
    """The folder of format 1 as `run`, and the model that it started from (here: its own) as `start`."""
    shutil.copytree(FORMAT_1, tmp_path / "run", symlinks=True)
    shutil.copytree(FORMAT_1 / "checkpoints" / "step_000002", tmp_path / "start")
    monkeypatch.chdir(tmp_path)
    return Path("run")


def test_a_run_of_the_present_format(tmp_path):
    path, watch = tmp_path / "mine", Watching()
    with opened(path) as folder:
        assert RunView.open(path).state == "running"
        loop(tiny_run(), folder, watch, lambda: len(watch.steps) == 3)
    view = RunView.open(path)
    assert (view.format, view.name, view.settings, view.state) == (FORMAT, "mine", {"seed": 0}, "stopped")
    assert (view.steps, view.checkpoints, view.report) == (3, [2, 3], None)
    assert [line["step"] for line in view.finished_steps()] == [1, 2, 3]
    assert [line["step"] for line in view.evaluations] == [0, 2]
    assert [(s["first_step"], s["last_step"]) for s in view.sessions] == [(1, 3)]
    assert view.wall_s == view.sessions[0]["wall_s"] > 0
    assert (view.transcripts.steps, view.answers.steps) == ([1, 2, 3], [0, 2])
    rows = view.transcripts.rows(2, ["prompt", "score"])
    assert [row.keys() for row in rows] == [{"prompt", "score"}] * 6
    assert sum(row["score"] for row in rows) / 6 == pytest.approx(view.metrics[1]["reward/mean"])
    batch = view.transcripts.batch(2)
    assert (batch.num_sequences, batch.acc.tolist()) == (6, [row["score"] for row in rows])
    assert view.evaluation(2) == {k: v for k, v in view.evaluations[1].items() if k != "step"}
    assert (view.evaluation(1), view.best(), view.best([1])) == (None, 2, None)
    with pytest.raises(UserError, match=r"mine has no transcripts of step 4; it has 1 to 3$"):
        view.transcripts.rows(4)
    with opened(path) as folder:
        loop(tiny_run(), folder, Watching())
    assert (view.steps, RunView(path).steps) == (3, 4)  # a view is as it was when it was read
    assert RunView(path).state == "finished"


def test_a_view_reads_nothing_before_it_is_asked(tmp_path):
    view = RunView(tmp_path / "nowhere")
    assert (view.metrics, view.events, view.sessions, view.steps, view.checkpoints) == ([], [], [], 0, [])
    with pytest.raises(NoRun):
        _ = view.about


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (None, NoRun, "{run} holds no run (it has no run.json); name the folder that menon train wrote, or"),
        (
            "{",
            DamagedRun,
            "{run}/run.json is damaged; put back a copy of it, or start a new run with another",
        ),
        ('{"settings": 3}', DamagedRun, "{run}/run.json is damaged"),
        ('{"format": "2", "settings": {}}', DamagedRun, "{run}/run.json is damaged"),
        (
            '{"format": 3, "settings": {}}',
            NewerFormat,
            "{run} was written by a newer menon (run folder format 3; this one reads up to 2); update menon",
        ),
    ],
)
def test_folders_that_are_no_use(tmp_path, content, error, sentence):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(error) as caught:
        RunView.open(tmp_path)
    assert str(caught.value).startswith(sentence.format(run=tmp_path))


def test_a_run_without_a_step(tmp_path):
    opened(tmp_path).close()
    with pytest.raises(UserError, match="has not finished a step yet, so there is nothing to report; wait"):
        RunView.open(tmp_path).finished_steps()


def test_a_folder_of_format_1_is_read(old):
    view = RunView.open(old)
    assert (view.format, view.state, view.steps, view.checkpoints) == (1, "finished", 2, [2])
    assert [(s["first_step"], s["last_step"]) for s in view.sessions] == [(1, 2)]
    assert view.wall_s == json.loads((FORMAT_1 / "sittings.json").read_text())[0]["wall_s"]
    assert view.events == []
    assert view.transcripts.batch(1).num_sequences == len(view.transcripts.rows(1)) == 4
    assert (setting(view.settings, "steps"), setting(view.settings, "model")) == (2, "start")


def test_commands_on_a_folder_of_format_1(old, capsys):
    assert main(["runs", "."]) == 0
    cells = capsys.readouterr().out.splitlines()[1].split()
    assert cells[:6] == ["run", "grpo", "start", "0", "2/2", "finished"]
    assert main(["rescore", "run", "--reward", "exact"]) == 0
    assert "8 answers, 8 with the same score" in capsys.readouterr().out
    assert main(["show", "run", "--step", "1"]) == 0
    assert "2 answers, mean reward 0.000" in capsys.readouterr().out
    assert main(["report", "run"]) == 0
    assert "after step 2, KL(trained || start)" in (old / "report.html").read_text()
    assert main(["study", "entropy", "run", "n_min=1", "threads=1"]) == 0
    assert "the law of entropy needs 8 points and there are 2" in capsys.readouterr().out
    assert main(["eval", "run", "task=chain_sum", "n=2", "max_new_tokens=4", "threads=1"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["n"] == 2


def test_a_run_of_format_1_is_repeated_and_not_resumed(old, capsys):
    again = ["train", "run/run.json", "out=again", "steps=1", "report_questions=0"]
    assert main([*again, "device=cpu"]) == 0
    assert RunView.open("again").format == FORMAT
    before, after = RunView(old).metrics[0], RunView(Path("again")).metrics[0]
    assert before["tokens/generated"] == after["tokens/generated"]
    capsys.readouterr()
    assert main(["train", "--resume", "run", "steps=4"]) == 2
    assert capsys.readouterr().err == (
        "menon: run was written by an earlier menon (run folder format 1), and this one cannot resume it; "
        "repeat it with `menon train run/run.json out=NEW`, or train its model further with "
        "model=run/checkpoints/latest\n"
    )
    with pytest.raises(UserError, match="cannot resume it"):
        RunFolder.open(old)
    assert not (old / "lock").exists()


def test_file_names_stand_in_one_place():
    """No module but `record.layout` spells the name of a file of the run folder as a path; `same_run.py`
    reads folders that another version wrote, and imports neither."""
    import ast

    import menon

    root = Path(menon.__file__).parent
    names = {"run.json", "metrics.jsonl", "evaluations.jsonl", "events.jsonl", "sessions.json"}
    names |= {"sittings.json", "report.json", "report.md", "report.html", "transcripts", "checkpoints"}
    found = [
        f"{path.relative_to(root.parents[1])}: {node.right.value}"
        for folder in (root, root.parents[1] / "scripts", root.parents[1] / "benchmarks")
        for path in folder.rglob("*.py")
        if path.name not in ("layout.py", "same_run.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if isinstance(node.right, ast.Constant) and node.right.value in names
    ]
    assert found == []
