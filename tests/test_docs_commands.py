"""Every example still works: commands of the README, of docs/, of help texts and of docstrings, settings that
docstrings and messages name, and code in Python.

`menon train` and `menon explain` have to give a configuration; other commands run up to what needs a model or
a file that the page does not have.
"""

import ast
import io
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import menon
from menon.assembly.run import configured
from menon.cli import COMMANDS, HELP, evaluate, main
from menon.cli.command import asked_by
from menon.cli.explain_gpus import WORDS
from menon.cli.help import SETTINGS
from menon.cli.lookup import known
from menon.cli.source_text import settings_of
from menon.config import RunConfig, changed
from menon.errors import UserError
from menon.eval.config import EvalConfig
from menon.metric_names import METRICS
from menon.pipeline.plan import planned
from menon.recipes import PIPELINES, RECIPES, recipe
from menon.settings import override, plain_data, read
from pages import FIRST_DAY, YOUR_OWN, files_of

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*TEXTS, *sorted((ROOT / "benchmarks").rglob("*.md"))]
SOURCE = sorted((ROOT / "src" / "menon").rglob("*.py"))
COMMAND = re.compile(rf"menon (?:{'|'.join([*COMMANDS, 'help'])})(?![\w-])[^\n`|]*")
PROSE = (
    r"menon \w+|menon (check|study) \w+|menon check WHAT FILE|menon train --resume|menon [^']*[{(\[].*|.*=$"
)
"""A command that is only named, with no words of its own or with placeholders of code."""
OWN_CODE = """
from dataclasses import dataclass
from menon.advantage import GRPO

@dataclass(frozen=True)
class MyEnvironment:
    def reset(self, prompt, seed): ...
    def step(self, text): ...

@dataclass(frozen=True)
class Doubles:
    most: int = 9

    def rows(self, split, n, seed): ...
    def room(self, split): ...
    def grade(self, prompt, completion, answer): ...

class Mine(GRPO):
    pass
"""


def commands(text: str) -> list[str]:
    """Those in blocks of code, in which a backslash continues a line, and those within a line of prose."""
    return [found.strip() for found in COMMAND.findall(text.replace("\\\n", " "))]


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a module, of what it defines and of its fields."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value


def help_texts() -> Iterator[str]:
    """The general help, its columns apart, and the help of each command."""
    yield re.sub(r"(?m)^(  menon .*?\S)  .*$", r"\1", HELP)
    for command in COMMANDS:
        with redirect_stdout(io.StringIO()) as printed:
            main([command, "--help"])
        text = printed.getvalue()
        usage, _, rest = text.partition("\n\n")
        yield re.sub(r"(?m)^(  menon .*?\S)  .*$", r"\1", usage)
        yield " ".join(rest.split())


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of everything that may hold an example."""
    yield from ((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in PAGES)
    yield from (("help", text) for text in help_texts())
    for path in SOURCE:
        yield from ((path.name, " ".join(text.split())) for text in docstrings(path))


def examples() -> list[tuple[str, str]]:
    found = {(name, line.rstrip(".,;: ")) for name, text in texts() for line in commands(text)}
    return sorted((name, line) for name, line in found if not re.fullmatch(PROSE, line))


LINES = examples()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Holds what the lines name: files of settings and of code, and a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(OWN_CODE)
    for name, code in (files_of(YOUR_OWN) | files_of(FIRST_DAY)).items():
        (tmp_path / name).write_text(code)
    (tmp_path / "run.yaml").write_text("steps: 20\nobjective.policy.loss.clip_high: 0.28\n")
    (tmp_path / "RUN").mkdir()
    settings = plain_data(recipe("grpo")) | {"engine": plain_data(recipe("grpo").engine) | {"threads": 1}}
    (tmp_path / "RUN" / "run.json").write_text(json.dumps({"settings": settings}))


MISSING = (
    "understood|there is no (run|file|folder|set |help on 'NAME')|No such file|holds no run|"
    "has no transcripts|holds no transcripts|has not finished a step|holds no sweep|was not evaluated before|"
    "is no folder here|say `menon cluster up|has no checkpoint yet"
)
"""What commands say that were understood and lack a model, a run or a file."""


def understood(*arguments: Any, **names: Any) -> Any:
    raise UserError("understood")


@pytest.fixture
def idle(monkeypatch):
    """Commands stop where they would load a model, or serve without an end."""

    def evaluated(settings: dict[str, Any], on_ready: Any) -> Any:
        read(EvalConfig, settings)
        understood()

    monkeypatch.setattr(evaluate, "measured", evaluated)
    for name in (
        *("assembly.sample.sample", "assembly.pretrain.pretrain", "cli.sweep.trained"),
        *("assembly.posterior.draw", "simulate.plan.planned", "cli.cluster.run"),
        *("cli.serve.listening", "cli.workbench.listening"),
    ):
        monkeypatch.setattr(f"menon.{name}", understood)


PLACEHOLDERS = {
    r"\bRECIPE\b|\$recipe\b": "grpo",
    r"=(SEED|S|\$seed)\b": "=1",
    r"\bSTEP\b": "1",
    r"\bhelp NAME\b": "help grpo",
    r"\bFILE\.yaml\b|\bsettings\.yaml\b": "run.yaml",
    r"--reward X\b": "--reward math",
    r" key=value\b|\S+=\.\.\.| \.\.\.": "",
}


def words_of(line: str) -> list[str]:
    """The words of a command, with something in place of what the reader is to fill in."""
    for pattern, text in PLACEHOLDERS.items():
        line = re.sub(pattern, text, line)
    return shlex.split(line.partition(" > ")[0], comments=True)[1:]


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda text: text[:60])
def test_a_line_is_understood(page, line, idle, capsys):
    if "reasoning_gym" in line:
        pytest.importorskip("reasoning_gym")
    command, *words = words_of(line)
    if command not in ("train", "explain"):
        code = main([command, *words])
        said = capsys.readouterr().err
        assert code == 0 or re.search(MISSING, said), said
        return
    if "--help" in words:
        assert main([command, *words]) == 0
        return
    of_explain = ("full", "--json", *WORDS) if command == "explain" else ()
    asked = asked_by([word for word in words if word.partition("=")[0] not in of_explain])
    if asked.recipe in PIPELINES:
        assert planned(asked.recipe, asked.changes).stages
    elif asked.resume is None:
        assert isinstance(configured(asked.recipe, asked.changes, 1, asked.again), RunConfig)
    else:
        assert words[0] == "--resume"


def test_lines_are_found():
    pages = {page for page, _ in LINES}
    assert len(LINES) > 150
    assert {"README.md", "docs/real_models.md", "docs/tasks.md", "docs/algorithms/grpo.md"} <= pages
    assert {"help", "explain.py"} <= pages
    assert any(
        "out=runs/gsm8k" in line and "tokens_per_forward" in line for _, line in LINES
    )  # of three, joined


# Settings that are named


def test_the_settings_in_the_general_help():
    lines = HELP.partition("Settings are")[2].partition("--debug")[0].splitlines()[1:]
    words = [word for line in lines for word in shlex.split(line)]
    assert len(words) > 7
    assert isinstance(changed(recipe("grpo"), *(dict([override(word)]) for word in words)), RunConfig)


@pytest.mark.parametrize("name", RECIPES)
def test_the_settings_in_a_recipes_docstring(name):
    path = ROOT / "src" / "menon" / "recipes" / f"{name}.py"
    for text in docstrings(path):
        for span in re.findall(r"`([a-z][^`]*=[^`]+)`", text):
            words = shlex.split(span.replace("\n", " "))
            assert isinstance(changed(recipe(name), *(dict([override(word)]) for word in words)), RunConfig)


SETTING = re.compile(r"(?<![\w./:$({\[\"'])([a-z][a-z_0-9]*(?:\.\w+)*)=(?=[\w.'\[{<-])(?!=)")


def test_settings_in_messages_exist():
    """A message that says what to set names a setting that there is."""
    others = {
        one.name
        for places in SETTINGS.values()
        for _, module, cls in places
        for one in settings_of(module, cls)
    }
    names = {name.rpartition(".")[2] for name in (known() - set(METRICS)) | others}
    names |= {
        "critic",
        "optimiser",
        "natural",
        "adapter",
        "columns",
        "corpus",
        "full",
        "key",
        "coef",
        "credit",
        "ways",
    }
    names |= {"address"}  # of placement
    names |= {"own_code"}  # the word of the commands that read a run folder
    names |= {"attn_implementation"}  # of transformers
    names |= {"seeds", "jobs", "sort", "csv", "at"}  # of sweep, runs and compare
    named = [
        (path.name, name)
        for path in SOURCE
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "UserError"
        for piece in ast.walk(call)
        if isinstance(piece, ast.Constant) and isinstance(piece.value, str)
        for name in SETTING.findall(piece.value)
    ]
    assert len(named) > 40
    assert [(file, name) for file, name in named if name.rpartition(".")[2] not in names] == []


# Python


def blocks() -> list[tuple[str, str]]:
    found = [
        (str(path.relative_to(ROOT)), block)
        for path in PAGES
        for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    ]
    calls = re.findall(r">>> (menon\..*?)(?:  #|$)", str(menon.train.__doc__), re.MULTILINE)
    return [*found, *(("menon.train", call) for call in calls)]


NEEDS = r"view|sampler\.open|from_pretrained|OpenAI\(|episodes|menon\.(runs|metrics|compare)"


@pytest.mark.parametrize(("page", "code"), blocks(), ids=lambda text: text[:40])
def test_code_in_python_runs(page, code, monkeypatch):
    """What needs a run or a server is compiled alone; test_export.py runs the lines that load a model."""

    def resolved(recipe: str = "grpo", /, **settings: Any) -> dict[str, Any]:
        assert isinstance(configured(recipe, (settings,), 1), RunConfig)
        return {"before": {"accuracy": 0.0}, "after": {"accuracy": 1.0}}

    monkeypatch.setattr(menon, "train", resolved)
    compiled = compile(code, page, "exec")
    if not re.search(NEEDS, code):
        exec(compiled, {"menon": menon, "mine": lambda prompt, completion, answer: 1.0, "__name__": "page"})


def test_the_override_in_the_docstring_of_train():
    (span,) = re.findall(r"\*\*({[^}]*})", str(menon.train.__doc__))
    assert isinstance(configured("grpo", (ast.literal_eval(span),), 1), RunConfig)
