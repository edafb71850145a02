"""Writes the output of each command in docs/tutorial.md anew, from a run of the page's own `menon train`.

python scripts/tutorial.py  # the run takes about a minute; it is made in a temporary folder
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
TRAIN = re.compile(r"```sh\n(menon train .*)\n```")
SHOWN = re.compile(r"```console\n\$ (menon show .*)\n[^`]*```")


def output(command: str, folder: Path, *more: str) -> str:
    """What a command prints in 80 columns, run in a folder."""
    words = [sys.executable, "-m", *shlex.split(command), *more]
    surroundings = os.environ | {"COLUMNS": "80", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        words, cwd=folder, env=surroundings, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def written(page: str, folder: Path) -> str:
    """The page with the output of its commands."""
    for command in TRAIN.findall(page):
        output(command, folder, "threads=1", "report_questions=0")
    return SHOWN.sub(lambda block: f"```console\n$ {block[1]}\n{output(block[1], folder)}```", page)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), Path(temporary)), encoding="utf-8")
