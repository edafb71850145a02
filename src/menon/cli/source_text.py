"""The reference of settings and parts, read from the source text of this package. Nothing is imported, so
that help is fast: a dataclass is a table of settings, the string below a field is its sentence."""

import ast
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from menon.docstrings import first_sentence

PACKAGE = Path(__file__).parents[1]
TYPES = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
"""Names of simple types. Other types are tables of settings, or parts that are chosen by their kind; their
sentences say which."""
WORDS = {"int": "whole", "float": "number", "str": "text", "bool": "yes/no"}
LEFT_OUT = {("RunConfig", name) for name in ("source", "models", "engine", "control", "recipe", "own_code")}
"""Fields that are listed separately, or that the command writes."""


@dataclass(frozen=True)
class Setting:
    """A field of a dataclass, as written in its source."""

    name: str
    default: str
    """"" where there is none to show: null, empty, or a table."""
    sentence: str
    module: str = field(default="", compare=False, repr=False)
    annotation: ast.expr = field(default_factory=lambda: ast.Name("str"), compare=False, repr=False)

    @property
    def type(self) -> str:
        """The type in words: the values of choices, the kinds of parts; "" if the sentence must say it."""
        *others, last = self.choices or [""]
        return f"{', '.join(others)} or {last}" if others else last

    @property
    def choices(self) -> list[str]:
        """The values of a choice, the kinds of a part, or types in words."""
        return alternatives(self.module, self.annotation)

    @property
    def short_type(self) -> str:
        """The type in one word."""
        return word_for(self.module, self.annotation)

    @property
    def first(self) -> str:
        """The first sentence, without its full stop."""
        return first_sentence(self.sentence)


@dataclass(frozen=True)
class Part:
    """A part that a configuration can name: its kind, and the dataclass that holds its settings."""

    kind: str
    module: str
    cls: str

    @property
    def text(self) -> str:
        """The docstring of the class; its first sentence or formula says what the part does."""
        return docstring(self.module, self.cls)

    @property
    def settings(self) -> list[Setting]:
        return settings_of(self.module, self.cls)


@cache
def text_of(module: str) -> str:
    """The source of a module of this package."""
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


@cache
def tree_of(module: str) -> ast.Module:
    """The syntax tree of a module of this package."""
    return ast.parse(text_of(module))


def docstring(module: str, name: str) -> str:
    """The docstring of a function of a module, without its indentation and the errors that it raises."""
    return (ast.get_docstring(defined(module, name)) or "").partition("UserError:")[0].rstrip()


def defined(module: str, name: str) -> ast.FunctionDef | ast.ClassDef:
    """The function or class of this name in a module."""
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"{module} defines no {name}")


@cache
def settings_of(module: str, cls: str) -> list[Setting]:
    """The fields of a dataclass, in their order. One without a sentence has that of the class above."""
    whole = defined(module, cls)
    assert isinstance(whole, ast.ClassDef)
    above = {
        one.name: one.sentence for base in whole.bases for one in settings_above(module, ast.unparse(base))
    }
    body, found = whole.body, []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name, kind = node.target.id, ast.unparse(node.annotation)
        no_setting = kind.startswith("ClassVar") or name == "kind" or "init=False" in ast.unparse(node)
        if no_setting or (cls, name) in LEFT_OUT:
            continue
        sentence = said(after) or above.get(name, "")
        found.append(Setting(name, default_of(module, node.value), sentence, module, node.annotation))
    return found


def all_settings_of(module: str, cls: str) -> list[Setting]:
    """The fields of a dataclass, then those of the classes that it extends."""
    whole, own = defined(module, cls), settings_of(module, cls)
    assert isinstance(whole, ast.ClassDef)
    above = [one for base in whole.bases for one in settings_above(module, ast.unparse(base))]
    return [*own, *(one for one in above if one.name not in {setting.name for setting in own})]


def settings_above(module: str, base: str) -> list[Setting]:
    """The settings of a class that a class of this module extends; [] if it is not one of this package's."""
    origin, _ = value_of(module, base)
    return settings_of(origin, base) if fields_of(origin, base) else []


def said(node: ast.stmt | None) -> str:
    """The string below a field, in one line."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return " ".join(node.value.value.split())
    return ""


def word_for(module: str, node: ast.expr) -> str:
    """A type in one word, found without reading the modules of its parts."""
    if isinstance(node, ast.BinOp):
        return word_for(module, node.left)
    if isinstance(node, ast.Subscript):
        word = {"Literal": "choice", "Annotated": "part", "tuple": "list"}.get(
            ast.unparse(node.value), "table"
        )
        return WORDS.get(ast.unparse(node), word)
    name = ast.unparse(node)
    if not isinstance(node, ast.Name) or name in WORDS:
        return WORDS.get(name, "table")
    origin, value = value_of(module, name)
    if isinstance(value, ast.Call):  # a type variable stands for a part
        return "part"
    return "table" if value is None else word_for(origin, value)


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
    kind = kind_of(module, text)
    return [kind] if kind else []


@cache
def kind_of(module: str, cls: str) -> str:
    """The kind of a class of parts that a module defines or imports; "" for any other name."""
    origin, _ = value_of(module, cls)
    *_, body = re.split(rf"^class {cls}\b", text_of(origin), maxsplit=1, flags=re.MULTILINE)
    found = re.search(r'^    kind: Literal\["(\w+)"\]', body.partition("\nclass ")[0], re.MULTILINE)
    return found.group(1) if found else ""


@cache
def members(module: str, union: str) -> list[Part]:
    """The parts of a union, like `LossPart` of the module `loss`, in its order."""
    origin, value = value_of(module, union)
    if value is None:
        return [Part(kind, origin, union)] if (kind := kind_of(module, union)) else []
    names = [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]
    return sorted((part for name in names for part in members(origin, name)), key=lambda part: part.kind)


def keys_of(module: str, table: str) -> list[str]:
    """The keys of a dictionary that a module defines, as text."""
    origin, value = value_of(module, table)
    assert isinstance(value, ast.Dict)
    return [default_of(origin, key) for key in value.keys]


def default_of(module: str, value: ast.expr | None) -> str:
    """The default of a field, as it is shown."""
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):  # Class.field
        origin = value_of(module, value.value.id)[0]
        named = [f for f in fields_of(origin, value.value.id) if ast.unparse(f.target) == value.attr]
        return default_of(origin, named[0].value) if named else ""
    if isinstance(value, ast.Name):
        origin, given = value_of(module, value.id)
        return "" if given is None else default_of(origin, given)
    if isinstance(value, ast.Call) and (
        made := [a.value for a in value.keywords if a.arg == "default_factory"]
    ):
        return kind_of(module, made[0].id) if isinstance(made[0], ast.Name) else ""
    try:
        default = ast.literal_eval(value) if value is not None else None
    except ValueError:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]" if default else ""
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default is None else str(default).encode("unicode_escape").decode()


def fields_of(module: str, cls: str) -> list[ast.AnnAssign]:
    """The fields of a class of a module; [] if there is no such class."""
    classes = [node for node in tree_of(module).body if isinstance(node, ast.ClassDef) and node.name == cls]
    return [node for one in classes for node in one.body if isinstance(node, ast.AnnAssign)]


@cache
def value_of(module: str, name: str) -> tuple[str, ast.expr | None]:
    """The module in which a name is defined, and what it is set to there; None if it is a class."""
    if re.search(rf"^class {name}\b", text_of(module), re.MULTILINE):  # most names, without a syntax tree
        return module, None
    for node in tree_of(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return module, node.value
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value is not None:
            return module, node.value
    for one in ast.walk(tree_of(module)):
        if isinstance(one, ast.ImportFrom) and str(one.module).startswith("menon."):
            for alias in one.names:
                if (alias.asname or alias.name) == name:
                    return value_of(str(one.module).removeprefix("menon."), alias.name)
    return module, None
