"""What a user is told to type."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from menon import errors
from menon.errors import pip_install, pip_install_alone

WHEEL = "file:///a%20b/menon-0.1.0-py3-none-any.whl"


class Installed:
    """A distribution with this record of where it came from."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.mark.parametrize(
    ("origin", "checkout", "command"),
    [
        (None, False, "pip install 'menon[eval]'"),
        ({"url": WHEEL, "archive_info": {}}, False, f"pip install 'menon[eval] @ {WHEEL}'"),
        (
            {"url": "https://host/menon", "vcs_info": {"vcs": "git", "commit_id": "a"}},
            False,
            "pip install 'menon[eval] @ git+https://host/menon'",
        ),
        ({"url": "file:///a%20b", "dir_info": {}}, False, "pip install '/a b[eval]'"),
        ({"url": "file:///a", "dir_info": {"editable": True}}, True, "pip install -e 'ROOT[eval]'"),
        (None, True, "pip install 'ROOT[eval]'"),
        ("nothing", True, "pip install 'ROOT[eval]'"),
    ],
)
def test_an_extra_is_installed_from_where_the_package_came(origin, checkout, command, tmp_path, monkeypatch):
    def distribution(name: str) -> Installed:
        if origin == "nothing":
            raise metadata.PackageNotFoundError(name)
        return Installed(origin)

    monkeypatch.setattr(metadata, "distribution", distribution)
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "src" / "menon" / "errors.py"))
    if checkout:
        (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir("/")
    assert pip_install("eval") == command.replace("ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert pip_install("eval") == command.replace("ROOT", ".")
    source = command.removeprefix("pip install ").removeprefix("-e ").strip("'").replace("[eval]", "")
    source = source.removeprefix("menon @ ").replace("ROOT", str(tmp_path))
    assert pip_install_alone() == f"pip install --no-deps '{source}'"


def test_this_checkout_is_named():
    assert f"'{Path(errors.__file__).parents[2]}[eval]'" in pip_install("eval").replace(
        "'.[", f"'{Path.cwd()}["
    )
