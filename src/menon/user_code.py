"""Loads a user's own code by name: `file.py:Name` or `package.module:Name`."""

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from menon.errors import UserError

LONGEST = 300
"""Characters of an error message that are shown."""


def load_object(reference: str) -> Any:
    """The function or class of that name; UserError says what is missing."""
    where, _, name = reference.rpartition(":")
    if not where or not name:
        raise UserError(
            f"'{reference}' does not name your own code; write file.py:name or package.module:name"
        )
    module = _module_of_file(Path(where)) if where.endswith(".py") else _module_of_name(where)
    found: Any = module
    for step in name.split("."):
        if not hasattr(found, step):
            raise UserError(f"{where} holds no '{name}'")
        found = getattr(found, step)
    return found


def reference_of(thing: Any) -> str:
    """The name under which `load_object` finds a function or class again."""
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    module = getattr(thing, "__module__", "")
    file = getattr(sys.modules.get(module), "__file__", None)
    by_file = module == "__main__" or module.startswith("menon_own_")
    return f"{Path(file).resolve()}:{name}" if file and by_file else f"{module}:{name}"


def source_hash(reference: str) -> str:
    """SHA-256 of the file that a reference names; the file is not run. "" if there is no file (an interactive
    session)."""
    where = reference.rpartition(":")[0]
    if where.endswith(".py"):
        file: Path | None = Path(where)
    else:
        try:
            spec = importlib.util.find_spec(where)
        except (ImportError, ValueError):
            spec = None
        file = Path(spec.origin) if spec is not None and spec.origin else None
    return hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else ""


def describe(error: BaseException, file: str | Path = "") -> str:
    """An exception in one line: type, message, and where it was raised (the line of the user's own file, if
    it is known and was reached)."""
    machinery = (__file__, importlib.__file__)
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if f.filename[0] != "<" and f.filename not in machinery
    ]
    own = [frame for frame in frames if frame.filename == str(file)] or frames
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


def _module_of_file(path: Path) -> ModuleType:
    path = path.resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"there is no file {path}" if isinstance(error, FileNotFoundError) else f"{path}: {error}"
        ) from None
    # The module's name contains a hash of the file, so that an edited file is loaded again and an unchanged
    # one gives the same classes.
    name = f"menon_own_{path.stem}_{hashlib.sha256(bytes(path) + source).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # files beside it can be imported, as from a script
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being made
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception):
            raise UserError(f"{path} cannot be loaded: {describe(error, path)}") from error
        raise
    return module


def _module_of_name(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # the folder that the command was typed in, as `python -m` does
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"the module {name} cannot be loaded: {describe(error)}") from error
