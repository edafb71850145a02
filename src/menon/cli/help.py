"""`menon COMMAND --help`: usage, what the command does, and its settings with the sentences of their fields.

Everything is read from the source text of this package and nothing is imported, so that help is fast.
"""

import ast
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from menon.cli import folded

PACKAGE = Path(__file__).parents[1]
WIDEST, NARROWEST = 110, 72
COLUMN = 30
"""Column at which the sentences begin; a longer setting has its own line."""
TYPES = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
"""Names of simple types. Other types are tables of settings, or parts that are chosen by their kind; their
sentences say which."""

SETTINGS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "train": (
        ("control", "config", "Control"),
        ("source", "config", "OnlineSource"),
        ("models.policy", "config", "Policy"),
        ("models.policy.optimiser", "update.optimiser", "Optimiser"),
        ("models", "config", "Models"),
        ("models.critic", "config", "Critic"),
        ("engine", "config", "Engine"),
        ("", "config", "RunConfig"),
    ),
    "pretrain": (
        ("", "base.recipe", "Recipe"),
        ("corpus=sums", "base.corpus", "PretrainRecipe"),
        ("corpus=search", "base.search", "SearchRecipe"),
    ),
    "eval": (("", "eval.config", "EvalConfig"),),
    "sample": (("", "assembly.sample", "SampleConfig"),),
    "study": (("", "study.entropy", "EntropyStudy"),),
}
"""Command -> (owner, module of this package, dataclass) whose fields are its settings. `explain` takes those
of `train`."""
OWNERS = "A name without dots stands for the setting of that name in the first of these that has one."
LEFT_OUT = {("RunConfig", name) for name in ("source", "models", "engine", "control", "recipe", "own_code")}
"""Fields that are listed separately, or that the command writes."""


@dataclass(frozen=True)
class Setting:
    """A field of a dataclass, as written in its source."""

    name: str
    type: str
    default: str
    """"" where there is none to show: null, empty, or a part with settings of its own."""
    sentence: str


def help_of(command: str, words: Sequence[str], usage: str, function: tuple[str, str]) -> str:
    """The help of a command. `usage` is the general help, from which the command's lines are taken;
    `function` is the module of this folder and the name of what runs it; `words` may name a recipe."""
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))
    lines = [line for line in usage.splitlines() if line.startswith(f"  menon {command} ")]
    lines = list(folded(lines, width))
    lines += ["", *paragraphs(docstring(f"cli.{function[0]}", function[1]), width)]
    for word in words:
        if (PACKAGE / "recipes" / f"{word}.py").exists():
            lines += ["", f"{word}:", *indented(paragraphs(docstring(f"recipes.{word}", word), width - 2))]
    if command == "check":
        for name in ("verifier", "code", "data"):
            text = docstring(f"cli.check_{name}", f"check_{name}")
            lines += ["", f"check {name}:", *indented(paragraphs(text, width - 2))]
    for owner, module, cls in SETTINGS.get("train" if command == "explain" else command, ()):
        lines += ["", *section(owner, settings_of(module, cls), width)]
    if command in ("train", "explain"):
        lines += ["", *textwrap.wrap(OWNERS, width)]
    return "\n".join(lines) + "\n"


def section(owner: str, settings: Sequence[Setting], width: int) -> Iterator[str]:
    """The settings of an owner, one below the other."""
    if settings:
        yield f"settings of {owner}:" if owner else "settings:"
    for one in settings:
        left = f"  {one.name}={one.default}" if one.default else f"  {one.name}"
        text = ". ".join(part for part in (one.type, one.sentence) if part)
        lines = textwrap.wrap(text, width - COLUMN, break_on_hyphens=False, break_long_words=False) or [""]
        if len(left) > COLUMN - 2:
            yield left
            left = ""
        yield f"{left:<{COLUMN}}{lines[0]}".rstrip()
        yield from (" " * COLUMN + line for line in lines[1:])


def indented(lines: Sequence[str]) -> list[str]:
    """The lines with an indentation of two spaces; empty lines stay empty."""
    return [f"  {line}" if line else "" for line in lines]


def paragraphs(text: str, width: int) -> list[str]:
    """Text at this width, an empty line between its paragraphs."""
    parts = [textwrap.wrap(part, width, break_on_hyphens=False) for part in text.split("\n\n")]
    return [line for part in parts for line in (*part, "")][:-1]


# Reading the source


@cache
def tree_of(module: str) -> ast.Module:
    """The syntax tree of a module of this package."""
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def docstring(module: str, name: str) -> str:
    """The docstring of a function of a module, without its indentation and the errors that it raises."""
    return (ast.get_docstring(defined(module, name)) or "").partition("UserError:")[0].rstrip()


def defined(module: str, name: str) -> ast.FunctionDef | ast.ClassDef:
    """The function or class of this name in a module."""
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"{module} defines no {name}")


def settings_of(module: str, cls: str) -> list[Setting]:
    """The fields of a dataclass, in their order."""
    body = defined(module, cls).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name, kind = node.target.id, ast.unparse(node.annotation)
        if kind.startswith("ClassVar") or name == "kind" or (cls, name) in LEFT_OUT:
            continue
        found.append(
            Setting(name, type_of(module, node.annotation), default_of(module, node.value), said(after))
        )
    return found


def said(node: ast.stmt | None) -> str:
    """The string below a field, in one line."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return " ".join(node.value.value.split())
    return ""


def type_of(module: str, node: ast.expr) -> str:
    """A type in words: the values of choices, the kinds of parts; "" if the setting's sentence must say
    it."""
    *others, last = alternatives(module, node) or [""]
    return f"{', '.join(others)} or {last}" if others else last


def alternatives(module: str, node: ast.expr) -> list[str]:
    """The values that a setting of this type may have. For None, a function or a table, the setting's
    sentence says what they mean."""
    text = ast.unparse(node)
    if isinstance(node, ast.BinOp):
        return [*alternatives(module, node.left), *alternatives(module, node.right)]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Literal", "Annotated"):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if ast.unparse(node.value) == "Annotated":
            return alternatives(module, inside[0])
        return [str(ast.literal_eval(value)) for value in inside]
    if text in TYPES or text.startswith("tuple["):
        return [TYPES.get(text, "list")]
    if not isinstance(node, ast.Name):
        return []
    origin, value = value_of(module, text)
    if value is not None:
        return alternatives(origin, value)
    kinds = [field.value for field in fields_of(origin, text) if ast.unparse(field.target) == "kind"]
    return [str(ast.literal_eval(kind)) for kind in kinds if kind is not None]


def default_of(module: str, value: ast.expr | None) -> str:
    """The default of a field, as it is shown."""
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):  # Class.field
        origin = value_of(module, value.value.id)[0]
        named = [f for f in fields_of(origin, value.value.id) if ast.unparse(f.target) == value.attr]
        return default_of(origin, named[0].value) if named else ""
    if isinstance(value, ast.Name):
        origin, given = value_of(module, value.id)
        return "" if given is None else default_of(origin, given)
    try:
        default = ast.literal_eval(value) if value is not None else None
    except ValueError:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]" if default else ""
    return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)


def fields_of(module: str, cls: str) -> list[ast.AnnAssign]:
    """The fields of a class of a module; [] if there is no such class."""
    classes = [node for node in tree_of(module).body if isinstance(node, ast.ClassDef) and node.name == cls]
    return [node for one in classes for node in one.body if isinstance(node, ast.AnnAssign)]


def value_of(module: str, name: str) -> tuple[str, ast.expr | None]:
    """The module in which a name is defined, and what it is set to there; None if it is a class."""
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return module, node.value
    imports = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.ImportFrom)]
    for node in imports:
        for alias in node.names:
            if (alias.asname or alias.name) == name and str(node.module).startswith("menon."):
                return value_of(str(node.module).removeprefix("menon."), alias.name)
    return module, None
