"""The examples run as they stand, and do what they say."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from menon.user_code import load_object

EXAMPLES = Path(__file__).parents[1] / "examples"
DEADLINE = 600
"""Seconds. The longest needs about 30 of one core, which other tests may share."""
SHORT = [
    "steps=1",
    "prompts_per_step=4",
    "samples_per_prompt=4",
    "max_new_tokens=16",
    "heldout=4",
    "threads=1",
]


def printed(name: str, folder: Path, *words: str) -> list[str]:
    """The lines that an example prints."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, str(EXAMPLES / name), *words]
    done = subprocess.run(
        command, env=one_thread, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_grpo_by_hand_learns_within_120_lines(tmp_path):
    assert (EXAMPLES / "grpo_by_hand.py").read_text(encoding="utf-8").count("\n") <= 120
    *steps, before, after = (line.split() for line in printed("grpo_by_hand.py", tmp_path))
    assert [line[:2] for line in steps] == [["step", str(number)] for number in range(1, len(steps) + 1)]
    assert [line[2::2] for line in steps] == [["reward", "length", "entropy"]] * len(steps)
    assert (before[0], after[0]) == ("before", "after")
    assert float(after[1]) >= float(before[1]) + 0.2


def test_an_agent_is_trained_as_it_is():
    """It is run in tests/rollout/environments/test_agent.py, and has nothing of Menon in it."""
    program = (EXAMPLES / "own_agent.py").read_text(encoding="utf-8")
    assert "menon" not in program.partition('"""\n\n')[2].lower()


def expected(name: str) -> list[str]:
    """The output that an example's docstring ends with."""
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))) or ""
    return [line.strip() for line in text.partition("It ends with:")[2].splitlines() if line.strip()]


@pytest.mark.parametrize(
    "name",
    sorted(
        path.name for path in EXAMPLES.glob("*.py") if path.name not in ("grpo_by_hand.py", "own_agent.py")
    ),
)
def test_an_example_prints_what_its_docstring_says(name, tmp_path, monkeypatch, capsys):
    """With few short answers, so the numbers differ and the words do not."""
    if name == "own_reward.py":  # as a program: its reward is a function of `__main__`
        lines = printed(name, tmp_path, *SHORT)
    else:  # in this process, which has loaded everything
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", [name, *SHORT])
        load_object(f"{EXAMPLES / name}:main")()
        lines = capsys.readouterr().out.splitlines()
    said = expected(name)
    assert len(said) >= 2
    assert any(re.search(r"0\.\d", line) for line in said)
    words = [re.sub(r"[-+]?\d+(\.\d+)?", "N", line) for line in lines]
    assert words[-len(said) :] == [re.sub(r"[-+]?\d+(\.\d+)?", "N", line) for line in said]


def test_readme_names_every_example():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in readme] == []
