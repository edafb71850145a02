"""`menon sweep`: its words, its mistakes, and a sweep from the first run to the tables and the page."""

import csv
import json
from pathlib import Path

import pytest

from menon.assembly.run import configured
from menon.cli import main
from menon.cli.command import asked_by
from menon.cli.sweep import Plan, new_plan, seeds_of, sorted_words
from menon.errors import UserError
from menon.record import disk
from menon.settings import plain_data
from menon.study.sweep import Children


def plan_of(*words: str) -> Plan:
    _, own, rest = sorted_words(words)
    return new_plan(own, rest)


def arms_of(*words: str) -> dict[str, tuple[str, ...]]:
    return {arm.name: arm.words for arm in plan_of(*words).arms}


def test_recipes_and_settings_are_arms():
    assert arms_of() == {"grpo": ("grpo",)}
    assert arms_of("dapo", "steps=3", "gspo") == {"dapo": ("dapo", "steps=3"), "gspo": ("gspo", "steps=3")}
    assert arms_of("ppo", "steps=3", "arms.low=learning_rate=1e-4 'stop=[a, b]'") == {
        "ppo": ("ppo", "steps=3"),
        "low": ("ppo", "steps=3", "learning_rate=1e-4", "stop=[a, b]"),
    }
    assert arms_of("arms.a=", "arms.b=rloo more.yaml", "base.yaml") == {
        "a": ("base.yaml",),
        "b": ("rloo", "base.yaml", "more.yaml"),
    }
    assert plan_of("seeds=[4, 2]").seeds == (4, 2)
    assert plan_of().seeds == (0, 1, 2)


def test_an_earlier_run_is_an_arm(tmp_path):
    assert arms_of(f"{tmp_path}/first/run.json") == {"first": (f"{tmp_path}/first/run.json",)}


@pytest.mark.parametrize("text", ["", "0,1,", "a", "1.5", "-1", "0,1,0"])
def test_seeds_are_whole_numbers(text):
    with pytest.raises(UserError, match="seeds is"):
        seeds_of(text)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed=3"], "a sweep has several runs; write seeds= in place of seed="),
        (["seeds=x"], "seeds is 'x'; write whole numbers with commas, like seeds=0,1,2"),
        (["seeds=1,1"], "seeds is '1,1', with a seed twice; two runs of it would be the same"),
        (
            ["learning_rate=1e-4,1e-3"],
            "arm grpo: models.policy.optimiser.learning_rate is '1e-4,1e-3'; it takes a number; every value "
            "is an arm of a sweep: arms.learning_rate-1='learning_rate=1e-4' "
            "arms.learning_rate-2='learning_rate=1e-3'\n",
        ),
        (["grpo", "grpo"], "two arms are named 'grpo'; give one of them a name of its own by arms.NAME"),
        (["arms.a.b=steps=3"], "'a.b' is no name of an arm; use letters, digits, - and _"),
        (
            ["arms.a=out=x"],
            "arms.a takes a recipe, files and settings of `menon train`, like",
        ),
        (["arms.a={steps: 3}"], "arms.a takes a recipe, files and settings of `menon train`, like"),
        (["arms.a='x"], "arms.a is not a list of words (No closing quotation); close the quotes"),
        (["--resume"], "--resume needs the folder of a sweep, like --resume sweeps/mine"),
        (["--resume", "no"], "no holds no sweep (it has no sweep.json); name the folder of a `menon sweep`"),
        (["gropo"], "arm gropo: there is no recipe 'gropo'; did you mean"),
        (["arms.x=stepz=3"], "arm x: unknown setting 'stepz'; did you mean 'steps'?"),
        (["grpo", "arms.x="], "the arms grpo and x are the same; change a setting of one of them"),
        (["grpo", "jobs=0"], "jobs is 0; it must be at least 1"),
        (["grpo", "jobs=all"], "jobs is 'all'; give a whole number of at least 1"),
        (["--jobs=3"], "there is no option --jobs; settings are written without dashes"),
    ],
)
def test_mistakes_are_said_before_anything_runs(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *words]) == 2
    assert capsys.readouterr().err.startswith(f"menon: {sentence}")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def trained(monkeypatch):
    """Writes the folder of a run in place of training it, with numbers that depend on its rate and seed; a
    run of data that is missing fails."""

    def run(self, command, log):
        asked = asked_by(command[4:])
        if asked.settings.get("data"):
            print("menon: there is no file none.jsonl", file=log, flush=True)
            return 2
        if asked.resume is None:
            tree = plain_data(configured(asked.recipe, asked.changes, 1))
            path = Path(tree["control"]["out"])
            path.mkdir()
            disk.write(path / "run.json", json.dumps({"format": 2, "settings": tree}).encode())  # it is read
        else:
            path = asked.resume
            tree = json.loads((path / "run.json").read_text())["settings"]
        steps, seed = int(asked.settings["steps"]), int(tree["control"]["seed"])
        after = 0.5 + 0.1 * seed + 100 * float(tree["models"]["policy"]["optimiser"]["learning_rate"])
        lines = [{"step": step, "tokens/generated": 10 + seed} for step in range(1, steps + 1)]
        found = [{"step": 0, "accuracy": 0.25}, {"step": steps, "accuracy": after}]
        for name, rows in (("metrics.jsonl", lines), ("evaluations.jsonl", found)):
            (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        (path / "report.json").write_text(json.dumps({"steps": steps}))
        return 0

    monkeypatch.setattr(Children, "run", run)


def rows_in(file: str) -> list[dict[str, str]]:
    with Path(file).open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_one_seed_that_may_be_meant_as_a_number_of_seeds(tmp_path, monkeypatch, capsys, trained):
    monkeypatch.chdir(tmp_path)
    note = "menon: seeds=3 is one seed, the number 3; 3 seeds are seeds=0,1,2"
    for seeds, said in (("3", True), ("0", False), ("0,3", False)):
        # What an arm sets takes the place of what all share.
        words = [
            f"seeds={seeds}",
            "steps=1",
            "arms.a=learning_rate=1e-5",
            "learning_rate=1e-4",
            f"out=s{seeds}",
        ]
        assert main(["sweep", *words]) == 0
        assert (note in capsys.readouterr().out.splitlines()) == said
    settings = json.loads(Path("s3/a-3/run.json").read_text())["settings"]
    assert settings["models"]["policy"]["optimiser"]["learning_rate"] == 1e-5


def test_a_sweep_from_the_first_run_to_the_page(tmp_path, monkeypatch, capsys, trained):
    monkeypatch.chdir(tmp_path)
    words = ["grpo", "seeds=0,1", "steps=1", "arms.low=learning_rate=1e-5", "jobs=1", "out=s"]
    assert main(["sweep", *words]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.endswith(": done")] == [
        f"{name}: done" for name in ("grpo-0", "low-0", "grpo-1", "low-1")
    ]
    rows = rows_in("s/runs.csv")
    assert [(row["arm"], row["seed"], row["state"]) for row in rows] == [
        (arm, seed, "finished") for arm in ("grpo", "low") for seed in ("0", "1")
    ]
    # The rates are 3e-4 and 1e-5: .03 and .001 of accuracy.
    assert [row["difference"] for row in rows[:2]] == ["", ""]
    assert [float(row["difference"]) for row in rows[2:]] == pytest.approx([-0.029, -0.029])
    arms = rows_in("s/arms.csv")
    assert float(arms[1]["tokens"]) == 10.5
    assert float(arms[0]["accuracy_after"]) == pytest.approx(0.58)
    assert "| low | 2 of 2 | 0.250 ± 0.000 | 0.551 ± 0.635 | -0.029 ± 0.000 (2 seeds) | 10 | 0.0 |" in Path(
        "s/sweep.md"
    ).read_text(encoding="utf-8")
    page = Path("s/report.html").read_text()
    assert 'learning_rate<td data-column="grpo">0.0003<td data-column="low">1e-05</tr>' in page
    assert main(["sweep", *words]) == 2
    assert "s holds a sweep already; go on with it by `menon sweep --resume s`" in capsys.readouterr().err
    # More steps, one more seed and one more arm: what there is goes on or stays.
    assert main(["sweep", "--resume", "s", "steps=2", "seeds=2", "arms.none=learning_rate=0", "jobs=1"]) == 0
    rows = rows_in("s/runs.csv")
    assert [(row["arm"], row["step"]) for row in rows] == [
        (arm, "2") for arm in ("grpo", "low", "none") for _ in range(3)
    ]
    assert json.loads(Path("s/sweep.json").read_text())["seeds"] == [0, 1, 2]
    assert main(["sweep", "--resume", "s", "samples_per_prompt=4"]) == 2
    assert "keeps its settings" in capsys.readouterr().err
    assert main(["sweep", "--resume", "s", "arms.low=steps=3"]) == 2
    assert "the sweep has an arm 'low' already" in capsys.readouterr().err
    # The same runs on pages of their own.
    assert main(["report", "s/grpo-0", "s/grpo-1", "s/low-0", "out=two.html"]) == 0
    assert "grpo learning_rate=1e-05" in capsys.readouterr().out
    assert "grpo learning_rate=0.0003 (2 runs)" in Path("two.html").read_text()
    assert main(["report", "s"]) == 0
    assert main(["report", "s/low-0", "s/low-0"]) == 2
    assert "s/low-0 is named twice; leave one of them out" in capsys.readouterr().err
    assert main(["report", "s", "out=no/where.html"]) == 2
    assert "the page cannot be written to no/where.html" in capsys.readouterr().err


def test_a_failed_run_is_said_and_the_rest_goes_on(tmp_path, monkeypatch, capsys, trained):
    monkeypatch.chdir(tmp_path)
    words = ["grpo", "seeds=0,1", "steps=1", "arms.bad=data=none.jsonl", "jobs=1", "out=s"]
    assert main(["sweep", *words]) == 2
    printed = capsys.readouterr()
    assert "grpo-1: done" in printed.out
    assert "bad-1: skipped" in printed.out
    assert "2 of 4 runs failed, first bad-0: " in printed.err
    assert "go on with `menon sweep --resume s`" in printed.err
