"""Which names of a test refer to model code: those that the test uses and that no trusted code defines."""

import ast
import builtins
import symtable
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TypeVar

QUIET = threading.Lock()
LONGEST = 1_000_000
"""Characters of code beyond which it is not looked into."""
Read = TypeVar("Read")
OF_SITE = {"copyright", "credits", "license", "help", "exit", "quit"}
"""Names that the module site adds to the built-in ones; a task may be named like all but the last two."""
BUILTIN = frozenset(dir(builtins)) - OF_SITE | {"exit", "quit"}
ALIASES = {"np": "numpy", "numpy": "numpy", "pd": "pandas", "pandas": "pandas"}
LIBRARY = (
    "math",
    "copy",
    "collections",
    "itertools",
    "functools",
    "random",
    "string",
    "typing",
    "decimal",
    "fractions",
)
"""Libraries whose functions a test may use without importing them."""


def read_code(reader: Callable[[str], Read], code: str) -> Read | None:
    """What a reader such as `ast.parse` makes of code, without its warnings; None if it is no Python, or
    longer than `LONGEST`."""
    if len(code) > LONGEST:
        return None
    try:
        with QUIET, warnings.catch_warnings():  # the filters belong to the whole process
            warnings.simplefilter("ignore")
            return reader(code)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def free_names(code: str) -> set[str]:
    """Global names that code reads and never binds, without built-in ones. SyntaxError if it is no Python."""
    top = symtable.symtable(code, "test", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    bound |= {
        s.get_name()
        for table in _tables(top)
        for s in table.get_symbols()
        if s.is_declared_global() and s.is_assigned()
    }
    read = {
        s.get_name()
        for table in _tables(top)
        for s in table.get_symbols()
        if s.is_referenced() and (s.is_global() or table is top)
    }
    return read - bound - BUILTIN


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def library_names(code: str, names: set[str], entry: str) -> dict[str, tuple[str, str]]:
    """Those of `names` that refer to a library and not to model code (model code must not decide what
    `isclose` is): name -> (module, name in it; "": the module itself). Functions are included only if the
    test also uses another name, because `gcd` may be the task."""
    bases = {
        n.value.id
        for n in ast.walk(ast.parse(code))
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
    }
    modules = {
        name: (ALIASES.get(name, name), "")
        for name in names & bases
        if name in sys.stdlib_module_names | ALIASES.keys()
    }
    functions = {
        name: (library, name) for library in LIBRARY for name in (names - {entry} - bases) & _public(library)
    }
    left = names - modules.keys() - functions.keys()
    return modules | functions if entry or left else modules


def _public(library: str) -> set[str]:
    module = import_module(library)
    return set(getattr(module, "__all__", None) or vars(module))


def first_call(code: str) -> str:
    """The function that a test calls first, for a solution that is named like a built-in function (`assert
    sum(10, 15) == 6`)."""
    calls = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    first = min(calls, key=lambda call: (call.lineno, call.col_offset), default=None)
    return first.func.id if first is not None and isinstance(first.func, ast.Name) else ""


def definitions(code: str) -> str:
    """The imports, functions and classes at the top of trusted code, or nothing if it is no Python."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    kept = [
        n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
    ]
    return "\n".join(ast.unparse(node) for node in kept) + "\n" if len(kept) == len(tree.body) else ""
