"""Loads a user's own code by name, `file.py:Name` or `package.module:Name`, and names its faults as the
user's."""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from menon.errors import UserError, nearest
from menon.parts import PAGE, Contract

LONGEST = 300
"""Characters of an error message that are shown."""
UNKNOWN = -1
"""A line that is not known."""
_loaded: set[str] = set()
"""Files that were loaded by name, as they stand in a stack trace."""


def unknown_reward(name: str, kinds: Iterable[str]) -> UserError:
    """The error for a name that is no reward; it may be half the name of a function of the user's."""
    if name.endswith(".py"):
        return UserError(f"'{name}' is not a reward; name the function in the file too, like {name}:score")
    near = nearest(name, kinds, lists="menon help reward")
    own = "" if near.endswith("?") else "; your own is file.py:function"
    return UserError(f"there is no reward '{name}'{near}{own}")


def load_object(reference: str) -> Any:
    """The function or class of that name; UserError says what is missing."""
    where, _, name = reference.rpartition(":")
    if not where or not name or ".py:" in where:
        raise UserError(
            f"'{reference}' does not name your own code; write file.py:name or package.module:name"
        )
    module = _module_of_file(Path(where)) if where.endswith(".py") else _module_of_name(where)
    found: Any = module
    for step in name.split("."):
        if not hasattr(found, step):
            raise UserError(f"{where} holds no '{name}'{_names_like(step, found)}")
        found = getattr(found, step)
    if file := getattr(module, "__file__", None):
        _loaded.add(file)
    return found


def _names_like(name: str, holder: Any) -> str:
    """The end of a sentence about a name that a module or class does not hold."""
    home = holder.__name__ if isinstance(holder, ModuleType) else holder.__module__
    own = [
        other
        for other, value in vars(holder).items()
        if callable(value) and getattr(value, "__module__", "") == home and not other.startswith("_")
    ]
    near = difflib.get_close_matches(name, own, 1, 0.6) or difflib.get_close_matches(name, own, 3, 0)
    if not near:
        return ", nor any function or class of its own"
    return f"; did you mean '{near[0]}'?" if len(near) == 1 else f"; it holds {', '.join(sorted(near))}"


def is_own(thing: object) -> bool:
    """Whether a part or class is the user's."""
    cls = thing if isinstance(thing, type) else type(thing)
    return not cls.__module__.startswith("menon.")


def own_class(reference: str, contract: Contract | None = None) -> type:
    """The user's dataclass of that name. UserError unless it has the members of its stage; None asks for
    none."""
    cls = load_object(reference)
    if not isinstance(cls, type) or not hasattr(cls, "__dataclass_fields__"):
        raise UserError(
            f"{reference} is not a dataclass; a part is a frozen dataclass whose fields are its settings: "
            f"write @dataclass(frozen=True) above the class (see {PAGE})"
        )
    try:
        typing.get_type_hints(cls)
    except Exception as error:
        raise UserError(f"{reference}: the types of its fields cannot be read: {error}") from error
    if contract is not None:
        check_members(cls, reference, contract)
    return cls


def check_members(cls: type, reference: str, contract: Contract) -> None:
    """UserError names every member that a class of the user's lacks."""
    present = {name for base in cls.__mro__ for name in vars(base)}
    present |= set(getattr(cls, "__dataclass_fields__", ()))
    missing = [f"'{name}'" for name in contract.members if name not in present]
    if missing:
        *others, last = missing
        listed = f"{', '.join(others)} and {last}" if others else last
        raise UserError(f"{reference} lacks {listed}; {contract}")


def reference_of(thing: Any) -> str:
    """The name under which `load_object` finds a function or class again."""
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    module = getattr(thing, "__module__", "")
    file = getattr(sys.modules.get(module), "__file__", None)
    by_file = module == "__main__" or module.startswith("menon_own_")
    return f"{Path(file).resolve()}:{name}" if file and by_file else f"{module}:{name}"


def source_hash(reference: str) -> str:
    """SHA-256 of the file that a reference names; "" if there is no file (an interactive session). Nothing is
    run."""
    file = file_named(reference)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else ""


def file_named(reference: str) -> Path | None:
    """The file that a reference names, absolute. Nothing is run, not even the package that a module is in, as
    `importlib.util.find_spec` would."""
    where = reference.rpartition(":")[0]
    if where.endswith(".py"):
        return Path(where).resolve() if Path(where).is_file() else None
    places: list[str] | None = [os.getcwd(), *sys.path]
    spec = None
    for depth, _ in enumerate(names := where.split("."), start=1):
        if where == "__main__" or places is None:
            return None
        spec = PathFinder.find_spec(".".join(names[:depth]), places)
        places = (
            None
            if spec is None or spec.submodule_search_locations is None
            else [*spec.submodule_search_locations]
        )
    file = Path(spec.origin) if spec is not None and spec.origin else None
    return file.resolve() if file is not None and file.is_file() else None


def label(part: object) -> str:
    """A part of the user's as a message names it: file and class."""
    cls = type(part)
    return f"{Path(file_of(cls)).name or cls.__module__}:{cls.__qualname__}"


def file_of(cls: type) -> str:
    """The file of a class; "" if it has none (an interactive session)."""
    return str(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")


@contextmanager
def blame(
    place: str,
    part: object,
    expected: object,
    method: str = "__call__",
    hint: Callable[[BaseException], str] = lambda error: "",
) -> Iterator[None]:
    """What a method of the user's part raises within becomes a UserError that names the part, its place in
    the configuration, the line, and what was expected. Errors that say what to change already, and a lack of
    memory, are left as they are. `hint` may say more about an error."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        frame = own_frame(error, type(part))
        file = file_of(type(part)) if frame is None else frame.f_code.co_filename
        said = describe(error, file, line_of(type(part), method) or UNKNOWN)
        raise UserError(f"{place}={label(part)} raised {said}{hint(error)}; {expected}") from error


def own_frame(error: BaseException, cls: type) -> FrameType | None:
    """The last frame of an exception that is in the module of a class, which may be a notebook without a
    file."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if frame.f_globals.get("__name__") == cls.__module__]
    return own[-1] if own else None


def line_of(cls: type, method: str) -> int:
    """The line at which a method begins, or its class if it has the method from another module; 0 if it is
    not known."""
    member = inspect.getattr_static(cls, method, cls)
    own = getattr(member, "__module__", "") == cls.__module__
    try:
        return inspect.getsourcelines(member if own else cls)[1]
    except (OSError, TypeError):
        return 0


def misuse(place: str, part: object, what: str, method: str = "__call__") -> UserError:
    """The error for a part of the user's that returned something else than it should; `what` says what, and
    what it should have been."""
    cls = type(part)
    line = line_of(cls, method)
    at = f"{Path(file_of(cls)).name}:{line}, " if line else ""
    return UserError(f"{place}={label(part)} {what} ({at}see {PAGE})")


def own_fault(error: BaseException) -> str:
    """The sentence for an exception that passed through a file which was loaded by name; "" for others."""
    passed = [f.filename for f in traceback.extract_tb(error.__traceback__) if f.filename in _loaded]
    if not passed:
        return ""
    return f"your {Path(passed[-1]).name} raised {describe(error, passed[-1])}; --debug shows the whole trace"


def describe(error: BaseException, file: str | Path = "", line: int = 0) -> str:
    """An exception in one line: type, message, and where it was raised: the line of the user's own file, if
    it is known and was reached, or else the given line of it; nowhere if that is `UNKNOWN`."""
    machinery = (__file__, importlib.__file__)
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if f.filename[0] != "<" and f.filename not in machinery
    ]
    own = [frame for frame in frames if frame.filename == str(file)]
    lines = [(frame.filename, frame.lineno) for frame in own or frames]
    if line and not own:
        lines = [(str(file), line)] if line != UNKNOWN else []
    place = f" ({Path(lines[-1][0]).name}:{lines[-1][1]})" if lines else ""
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
    if Path(name).is_file():
        raise UserError(f"{name} is not a Python file; its name should end in .py")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # the folder that the command was typed in, as `python -m` does
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"the module {name} cannot be loaded: {describe(error)}") from error
