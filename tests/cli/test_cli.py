"""The command: quick help without torch, one line for every mistake, nothing lost."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import menon.cli
from menon.cli import main
from menon.cli.command import asked_by
from menon.errors import UserError


def python(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    source = Path(menon.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=folder, env=environment, timeout=120
    )


LIBRARIES = ("torch", "transformers", "pydantic", "rich", "numpy", "httpx2", "tenacity")
HEAVY = f"[name for name in {LIBRARIES} if name in sys.modules]"


@pytest.mark.parametrize(
    "code",
    ["import menon", "from menon.cli import main; main(['--help'])", "from menon.cli import main; main([])"],
)
def test_import_and_help_load_nothing_heavy(code):
    start = time.perf_counter()
    done = python("-c", f"import sys; {code}; print({HEAVY})")
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - start < 5  # .1 s on an idle machine; this one may be busy


def test_help_and_version(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for part in (
        "menon train --resume RUN",
        "menon pretrain",
        "grpo ",
        "reinforce ",
        "ppo ",
        "data=FILE.jsonl",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", "80")
    assert main([]) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 80
    assert narrow.split() == text.split()
    assert (
        "  menon check data FILE                        does every gold answer earn the\n"
        + " " * 47
        + "full reward\n"
        in narrow
    )
    monkeypatch.delenv("COLUMNS")
    assert main(["help"]) == 0
    assert capsys.readouterr().out == text
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"menon {menon.__version__}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "menon: there is no command 'trian'; did you mean 'train'?"),
        (["zzzzz"], "menon: there is no command 'zzzzz'; `menon --help` lists them all"),
        (["dapo", "steps=3"], "menon: dapo is a recipe; type `menon train dapo`"),
        (["--verion"], "menon: there is no command '--verion'; did you mean '--version'?"),
        (["train", "steps", "20"], "menon: steps is a setting; write steps=20"),
        (["train", "help"], "menon: for help type `menon train --help`, or `menon help NAME` for a recipe"),
        (["train", "steps"], "menon: steps is a setting; write steps=VALUE"),
        (["explain", "steps:5"], "menon: steps is a setting; write steps=5"),
        (["train", "none.json"], "menon: there is no file none.json"),
        (
            ["train", "grpo", "recipe=ppo", "threads=1"],
            "menon: the recipe is grpo, and recipe=ppo names another; leave one of them out",
        ),
        (
            ["train", "critic.init=orz", "threads=1"],
            "menon: this recipe has no critic to set anything of; take one that has",
        ),
        (["train", "stop=abc", "threads=1"], "menon: source.stop is 'abc'; it takes a list, like [abc]"),
        (
            ["train", "model=bse", "threads=1"],
            "menon: there is no model 'bse' here; did you mean the built-in 'ba",
        ),
        (
            ["train", "reward=mine.py", "threads=1"],
            "menon: 'mine.py' is not a reward; name the function in the file too, like mine.py:score",
        ),
        (
            ["train", "reinforc", "threads=1"],
            "menon: there is no recipe 'reinforc'; did you mean 'reinforce'?",
        ),
        (["train", "threads=1", "stepz=3"], "menon: unknown setting 'stepz'; did you mean 'steps'?"),
        (
            ["train", "threads=0"],
            "menon: threads is '0'; give a whole number of at least 1, or leave it out to use what is free",
        ),
        (
            ["train", "steps", "=", "3"],
            "menon: '=' is not a setting; write key=value without spaces around '=', like steps=20",
        ),
        (
            ["train", "--steps=3"],
            "menon: there is no option --steps; settings are written without dashes, like steps=20",
        ),
        (["train", "none.yaml"], "menon: there is no settings file none.yaml"),
        (
            ["train", "grpo", "ppo"],
            "menon: 'ppo' is neither key=value nor a .yaml or .toml file, and the recipe is",
        ),
        (["train", "--resume"], "menon: --resume needs the folder of a run, like --resume runs/mine"),
        (
            ["train", "--resume", "none"],
            "menon: none holds no run (it has no run.json); name the folder that menon train wrote, or",
        ),
        (
            ["train", "grpo", "--resume", "x"],
            "menon: --resume goes on with the run's own settings; leave the recipe",
        ),
        (
            ["train", "--resume=x", "seed=2"],
            "menon: a resumed run keeps its 'seed'; only steps, minutes, save_every,",
        ),
        (["train", "threads=1", "data=none.jsonl"], "menon: there is no file none.jsonl (looked from "),
        (
            ["train", "threads=1", "model=./none"],
            "menon: there is no folder ./none; name a model folder, or a model on",
        ),
        (
            ["train", "threads=1", "reward=exactly"],
            "menon: there is no reward 'exactly'; did you mean 'exact'?\n",
        ),
        (
            ["train", "threads=1", "task=chain_sums"],
            "menon: in source.task: unknown kind 'chain_sums'; did you mean 'chain_sum'?",
        ),
        (
            ["train", "threads=1", "device=tpu"],
            "menon: there is no device 'tpu'; use auto, cpu, cuda, or cuda:1 and so on",
        ),
        (
            ["train", "threads=1", "rollout=dynamic_sampling", "rollout.lo=2"],
            "menon: in source.rollout: no accuracy lies between lo 2.0 and hi 1.0",
        ),
        (["pretrain"], "menon: pretrain needs a folder for the model: menon pretrain out=my-base"),
        (
            ["pretrain", "grpo"],
            "menon: pretrain takes key=value only, like menon pretrain out=my-base seed=2",
        ),
        (
            ["pretrain", "out=x", "threads=1", "corpus=sum"],
            "menon: there is no corpus 'sum'; did you mean 'sums'?",
        ),
        (
            ["pretrain", "out=x", "threads=1", "update=3"],
            "menon: unknown setting 'update'; did you mean 'updates'?",
        ),
    ],
)
def test_a_mistake_is_one_line(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(sentence)
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_command_as_people_start_it(tmp_path):
    done = python("-m", "menon", "train", "grpo", "threads=1", "learning_rat=1", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "menon: unknown setting 'learning_rat'; did you mean 'learning_rate'?\n"
    shown = python("-m", "menon", "train", "--debug", "grpo", "threads=1", "learning_rat=1", folder=tmp_path)
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr


def test_a_used_folder_is_refused_before_anything_heavy(tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert main(["train", "threads=1", f"out={tmp_path}", "model=./none"]) == 2
    assert f"{tmp_path} holds a run already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 2, "menon: stopped\n"),
        (
            MemoryError(),
            2,
            "menon: out of memory; lower tokens_per_forward and slots, or take a smaller model\n",
        ),
        (
            ModuleNotFoundError("no", name="pyarrow"),
            2,
            "menon: the package 'pyarrow' is missing; install it, or install",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/full/x"),
            2,
            "menon: /full/x: No space left on device\n",
        ),
        (UserError("this and that"), 2, "menon: this and that\n"),
        (KeyError("odd"), 1, "menon: a fault in menon itself (KeyError: 'odd'); please report it with "),
        (
            ModuleNotFoundError("no", name="menon.x"),
            1,
            "menon: a fault in menon itself (ModuleNotFoundError: no)",
        ),
    ],
)
def test_every_ending_is_one_line(error, code, text, monkeypatch, capsys, tmp_path):
    def fail(words):
        raise error

    monkeypatch.setattr(menon.cli, "run", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["train"]) == code
    err = capsys.readouterr().err
    assert err.startswith(text)
    assert err.count("\n") == 1
    traces = list(tmp_path.glob("menon-*.txt"))
    assert len(traces) == (code == 1)
    assert all("Traceback" in trace.read_text() and str(trace) in err for trace in traces)
    with pytest.raises(type(error)):
        main(["train", "--debug"])


def test_an_address_space_that_is_too_small_is_said(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20,) * 2); "
    code = "from menon.cli import main; raise SystemExit(main(['train', 'grpo']))"
    shown = python("-c", limit + code, folder=tmp_path)
    assert shown.returncode == 2
    assert shown.stderr == (
        "menon: the address space of this process is limited to 400 MiB (ulimit -v), and the libraries alone "
        "need 1,024; raise it by `ulimit -v unlimited`\n"
    )


def test_words_are_understood(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("steps = 3\nseed = 1\n")
    asked = asked_by(["ppo", "seed=2", str(file), "critic.learning_rate=.5"])
    assert asked.recipe == "ppo"
    assert asked.settings == {
        "steps": 3,
        "seed": "2",
        "critic": {"learning_rate": ".5"},
    }  # files first, then overrides
    assert asked_by([]).recipe is None


def test_a_word_in_the_place_of_a_recipe_is_named_as_what_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "model"):
        Path(name).mkdir()
    Path("run/run.json").write_text("{}")
    for name, text in (("model/config.json", "{}"), ("q.jsonl", "{}"), ("rows.json", "[]"), ("mine.py", "")):
        Path(name).write_text(text)
    for word, said in {
        "run": "run is a run; go on with it by `menon train --resume run`, or repeat it by "
        "`menon train run/run.json`",
        "model": "model is the folder of a model; write model=model",
        "q.jsonl": "q.jsonl is a file and no recipe; write data=q.jsonl",
        "mine.py": "mine.py is a file and no recipe; write reward=mine.py:FUNCTION",
        "mine.py:f": "mine.py:f is code of your own; write which part it is, like reward=mine.py:f",
        "none.txt": "there is neither a file nor a recipe 'none.txt'; `menon help recipes` lists the recipes",
        "rows.json": "rows.json is not the run.json of a run; if it holds data, write data=rows.json",
        "run/run.json": "run/run.json is damaged; put back a copy of it, or start a new run with another "
        "out=",
    }.items():
        assert main(["train", word]) == 2
        assert capsys.readouterr().err == f"menon: {said}\n"
