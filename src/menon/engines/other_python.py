"""Worker processes of another Python environment: their libraries are that environment's, and of ours they
see the package `menon` alone."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.processes.worker import Spawn

PROGRAM = "from menon.processes.child import main; main()"
LOOK = """\
import json, sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
names, package = json.loads(sys.argv[1])
spec = find_spec(package) if package else None
folder = list(spec.submodule_search_locations or [""])[0] if spec else ""
found = {"python": list(sys.version_info[:2]), "folder": folder}
for name in names:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""
LOOK_LIMIT = 60.0
"""Seconds that an interpreter may take to say what it has."""


class SpawnElsewhere(Spawn):
    """`Spawn` with the interpreter `python` of another environment. `entry_points` are those that its
    libraries should find there, as in a wheel's entry_points.txt; `paths` has further folders of modules."""

    def __init__(
        self,
        python: str,
        entry: str,
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
        entry_points: str = "",
        paths: Sequence[str] = (),
    ) -> None:
        super().__init__(entry, *arguments)
        self.python = python
        self._folder = tempfile.TemporaryDirectory(prefix="menon-path-")
        # The folder holds our package and nothing else: what lies beside it, such as another torch, would
        # take the place of that environment's.
        folder = Path(self._folder.name)
        (folder / "menon").symlink_to(Path(__file__).parents[1])
        (folder / "menon-0.dist-info").mkdir()
        (folder / "menon-0.dist-info" / "METADATA").write_text("Name: menon\nVersion: 0\n")
        (folder / "menon-0.dist-info" / "entry_points.txt").write_text(entry_points)
        shown = [self._folder.name, *paths, *filter(None, [os.environ.get("PYTHONPATH", "")])]
        self.environment = {**(environment or {}), "PYTHONPATH": os.pathsep.join(shown)}

    def command(self) -> list[str]:
        return [self.python, "-c", PROGRAM, ""]


@dataclass(frozen=True)
class Environment:
    """What another interpreter has."""

    python: tuple[int, int]
    packages: Mapping[str, str]
    """Name of an installed distribution -> its version."""
    folder: str = ""
    """Where the package that was asked for lies; "" if it is not there."""


def look(python: str, setting: str, names: list[str], package: str = "") -> Environment:
    """What an interpreter has of the distributions with these names, and where a package lies, which is not
    imported. UserError: it is no interpreter, or too old to run our package."""
    if not Path(python).is_file():
        raise UserError(f"{setting}: there is no file {python}; give the path of an interpreter")
    try:
        done = subprocess.run(
            [python, "-c", LOOK, json.dumps([names, package])],
            capture_output=True,
            text=True,
            timeout=LOOK_LIMIT,
        )
        found = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else None
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{setting} is '{python}', which does not run Python code; give an interpreter")
    major, minor = found.pop("python")
    if (major, minor) < (3, 11):
        raise UserError(
            f"{setting} is Python {major}.{minor}, and menon needs 3.11 or newer there too; make that "
            "environment with a newer Python"
        )
    folder = found.pop("folder", "")
    return Environment((major, minor), found, folder)
