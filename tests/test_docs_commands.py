"""Every `menon train` and `menon explain` line of the README and of docs/ still gives a configuration."""

import json
import re
import shlex
from pathlib import Path

import pytest

from menon.assembly.run import configured
from menon.cli.command import asked_by
from menon.config import RunConfig
from menon.recipes import recipe
from menon.settings import plain_data
from pages import YOUR_OWN, files_of

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"menon (?:train|explain)(?![\w-])[^\n`]*")
OWN_CODE = """
from dataclasses import dataclass

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
"""


def commands(text: str) -> list[str]:
    """Those in blocks of code, in which a backslash continues a line, and those within a line of prose."""
    return [found.strip() for found in COMMAND.findall(text.replace("\\\n", " "))]


LINES = sorted(
    {
        (str(path.relative_to(ROOT)), line)
        for path in TEXTS
        for line in commands(path.read_text(encoding="utf-8"))
        if not line.endswith("--resume")  # the command's name in a sentence
    }
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Holds what the lines name: files of settings and of code, and a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(OWN_CODE)
    for name, code in files_of(YOUR_OWN).items():
        (tmp_path / name).write_text(code)
    (tmp_path / "run.yaml").write_text("steps: 20\nobjective.policy.loss.clip_high: 0.28\n")
    (tmp_path / "RUN").mkdir()
    settings = plain_data(recipe("grpo")) | {"engine": plain_data(recipe("grpo").engine) | {"threads": 1}}
    (tmp_path / "RUN" / "run.json").write_text(json.dumps({"settings": settings}))


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda text: text[:60])
def test_a_line_gives_a_configuration(page, line):
    if "reasoning_gym" in line:
        pytest.importorskip("reasoning_gym")
    words = [word for word in shlex.split(line, comments=True)[2:] if word != "..."]
    asked = asked_by(words)
    if asked.resume is None:
        assert isinstance(configured(asked.recipe, asked.changes, 1, asked.again), RunConfig)
    else:
        assert words[0] == "--resume"


def test_lines_are_found():
    pages = {page for page, _ in LINES}
    assert len(LINES) > 100
    assert {"README.md", "docs/real_models.md", "docs/tasks.md", "docs/algorithms/grpo.md"} <= pages
    assert any("tracker=tensorboard" in line for _, line in LINES)  # of three lines, joined
