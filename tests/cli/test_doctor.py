"""`menon doctor`: versions, machine, and what each extra lacks."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import psutil

from menon.cli import doctor
from menon.errors import pip_install

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_extras_are_those_of_the_project():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    named = {
        extra: tuple(re.split(r"[<>=\[;]", package)[0] for package in packages)
        for extra, packages in project["optional-dependencies"].items()
    }
    assert named == doctor.EXTRAS


def test_versions_machine_and_disk(capsys):
    doctor.doctor()
    lines = capsys.readouterr().out.splitlines()
    assert f"torch        {metadata.version('torch')}" in lines
    memory = next(line for line in lines if line.startswith("memory"))
    assert memory.endswith(f" of {psutil.virtual_memory().total / 2**30:.1f}")
    assert next(line for line in lines if line.startswith("disk")).endswith(str(Path.cwd()))


def test_what_an_extra_lacks(monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"one": ("torch",), "two": ("torch", "not-there")})
    assert list(doctor.extras()) == [
        "extras       one: complete",
        f"             two: lacks not-there; {pip_install('two')}",
    ]


def test_a_missing_package(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("not-there",))
    assert list(doctor.versions()) == ["not-there    missing; install menon again with its dependencies"]
