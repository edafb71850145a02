"""Reads settings into dataclasses: files and `key=value` become one tree, which pydantic reads into typed
dataclasses.  A *tree* is nested dictionaries of plain values; a part is a dictionary with its `kind`. Every
error in it becomes a `UserError` of one sentence.
"""

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, PlainValidator, TypeAdapter, ValidationError

from menon.errors import MOST_NAMES, UserError, nearest
from menon.other_names import answer_within
from menon.parts import PART, Contract
from menon.user_code import check_members, is_own, own_class, reference_of

T = TypeVar("T")
Tree = dict[str, Any]


# Making a tree


def read_file(path: Path) -> Tree:
    """The settings in a YAML or TOML file."""
    if path.suffix not in (".yaml", ".yml", ".toml"):
        raise UserError(f"{path} is not a settings file; its name should end in .yaml or .toml")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no settings file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the settings file {path} cannot be read: {error}") from None
    tree = _parsed(text, "toml" if path.suffix == ".toml" else "yaml", f"the settings file {path}")
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UserError(f"the settings file {path} should hold a table of settings, like 'steps: 20'")
    return nested(tree)


def _parsed(text: str, language: str, what: str) -> Any:
    if language == "toml":
        import tomllib

        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{what} is not valid TOML: {error}") from None
    import yaml

    try:
        if twice := _repeated(yaml.compose(text, yaml.SafeLoader)):
            raise UserError(f"{what} names '{twice}' twice; leave one of them out")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f" in line {mark.line + 1}" if mark else ""
        said = problem or " ".join(str(error).split())
        raise UserError(f"{what} is not valid YAML{place}: {said}") from None


def _repeated(node: Any) -> str:
    """A key that stands twice in one table of a YAML file, of which the library would take the last; "" if
    none does."""
    if node is None or not isinstance(node.value, list):
        return ""
    pairs = node.value if node.id == "mapping" else [(None, item) for item in node.value]
    keys = [key.value for key, _ in pairs if key is not None]
    twice = [str(key) for key in keys if keys.count(key) > 1]
    return next(iter(twice or filter(None, (_repeated(value) for _, value in pairs))), "")


def override(text: str) -> tuple[str, Any]:
    """One `key=value` of a command line. Numbers stay text here; the type of the setting decides how they are
    read.

    >>> override("objective.policy.loss.clip_high=.28")
    ('objective.policy.loss.clip_high', '.28')
    >>> override("critic=null")
    ('critic', None)
    >>> override("optimiser.betas=[.9, .95]")
    ('optimiser.betas', [0.9, 0.95])
    """
    key, equals, value = text.partition("=")
    if not equals or not key or key != key.strip():
        raise UserError(
            f"'{text}' is not a setting; write key=value without spaces around '=', like steps=20"
        )
    if value in ("null", ""):
        return key, None
    if value[0] in "[{'\"":
        return key, _parsed(value, "yaml", f"the value of {key}")
    return key, value


def setting(settings: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """A setting of a tree that is not read yet, by its short or its full name.

    >>> setting({"engine": {"threads": 2}}, "threads"), setting({"threads": 3}, "threads")
    (2, 3)
    >>> setting({}, "device", "auto")
    'auto'
    """
    for owner in ("", "control", "source", "models.policy", "models", "engine", "models.policy.optimiser"):
        table: Any = settings
        for key in owner.split(".") if owner else ():
            table = table.get(key) if isinstance(table, Mapping) else None
        if isinstance(table, Mapping) and name in table:
            return table[name]
    return default


def nested(settings: Mapping[str, Any]) -> Tree:
    """Dotted names as nested dictionaries, later ones over earlier ones.

    >>> nested({"critic.learning_rate": 1, "seed": 2})
    {'critic': {'learning_rate': 1}, 'seed': 2}
    """
    tree: Tree = {}
    for key, value in settings.items():
        value = nested(value) if isinstance(value, Mapping) else value
        for name in reversed(key.split(".")):
            value = {name: value}
        tree = merged(tree, value)
    return tree


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree, each with its dotted name; a value that is no tree has the name alone.

    >>> list(leaves({"critic": {"learning_rate": 1}, "seed": 2}))
    [('critic.learning_rate', 1), ('seed', 2)]
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}" if name else key)
    else:
        yield name, value


def merged(tree: Tree, more: Mapping[str, Any]) -> Tree:
    """The tree, changed by the settings of another.

    A different `kind` replaces a part with all its settings; the same kind, or none, changes single settings.
    A table that names every entry of the old table also sets their order.

    >>> merged({"loss": {"kind": "clip", "low": 1}}, {"loss": {"low": 2}})
    {'loss': {'kind': 'clip', 'low': 2}}
    >>> merged({"loss": {"kind": "clip", "low": 1}}, {"loss": "sequence"})
    {'loss': {'kind': 'sequence'}}
    """
    tree = dict(tree)
    for key, value in more.items():
        old = tree.get(key)
        if dataclasses.is_dataclass(old) and not isinstance(old, type) and isinstance(value, Mapping):
            old = plain_data(old)
        if isinstance(old, dict) and "kind" in old and isinstance(value, str):
            value = {"kind": value}
        if isinstance(old, str) and isinstance(value, Mapping):
            old = {"kind": old}
        if (
            isinstance(old, dict)
            and isinstance(value, Mapping)
            and value.get("kind", old.get("kind")) == old.get("kind")
        ):
            value = merged(old, value)
        tree[key] = value
    return {key: tree[key] for key in more} if more.keys() >= tree.keys() else tree


def plain_data(value: Any) -> Any:
    """A tree of dataclasses as plain data that JSON can hold and `read` can read again."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # A user's own part is identified by the name of its class, whatever its `kind` is. Parts are called;
        # environments step, tasks have rows.
        is_part = callable(value) or hasattr(value, "step") or hasattr(value, "rows")
        own = {"kind": reference_of(type(value))} if is_part and is_own(value) else {}
        return own | {
            f.name: plain_data(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if f.init and f.name not in own
        }
    if isinstance(value, Mapping):
        return {key: plain_data(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_data(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return reference_of(value) if callable(value) else value


# Reading a tree


def typed(settings: Any) -> Any:
    """A table of settings whose types are not known: `true`, `false` and whole numbers on a command line are
    text. Other numbers stay text, because 26.10 may be a date; YAML says otherwise: `{ratio: 26.10}`.

    >>> typed({"enable_thinking": "False", "budget": "512", "effort": "high"})
    {'enable_thinking': False, 'budget': 512, 'effort': 'high'}
    """
    if not isinstance(settings, Mapping):
        return settings
    return {key: _typed_value(value) for key, value in settings.items()}


def _typed_value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value.lower())
    except ValueError:
        return value
    return read if isinstance(read, bool | int) else value


FreeSettings = Annotated[dict[str, Any], BeforeValidator(typed)]
"""Settings by names that belong to somebody else, such as the variables of a chat template."""


def choice(union: Any, contract: Contract = PART) -> PlainValidator:
    """The validator of `reader`."""
    return PlainValidator(reader(union, contract))


def choice_or_else(union: Any, named: bool = True) -> BeforeValidator:
    """As `choice`, for Menon's own parts; a value that is neither a table nor (if `named`) the name of a kind
    is read by the type itself."""
    read_part, kinds = reader(union), {cls.kind for cls in typing.get_args(union) if named}

    def read_or_leave(value: Any) -> Any:
        return (
            read_part(value)
            if isinstance(value, Mapping) or (isinstance(value, str) and value in kinds)
            else value
        )

    return BeforeValidator(read_or_leave)


def reader(union: Any, contract: Contract = PART) -> Callable[[Any], Any]:
    """Reads a union of parts by their `kind`; a bare string is a kind. A user's own part is `file.py:Class`
    or `package.module:Class`, or an object, and has the members that the contract of its stage names."""
    classes: dict[str, type] = {cls.kind: cls for cls in typing.get_args(union) or (union,)}
    lists = f"menon help {next(iter(classes.values())).__module__.split('.')[-2]}"
    kinds = ", ".join(classes) if len(classes) <= MOST_NAMES else f"`{lists}` lists them"

    def read_part(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            if is_own(value) and type(value) not in classes.values():
                check_members(type(value), reference_of(type(value)), contract)
                check_settings(value)
            return value
        value = {"kind": value} if isinstance(value, str) else value
        if callable(value):
            name = getattr(value, "__name__", type(value).__name__)
            if dataclasses.is_dataclass(value):
                raise UserError(f"{name} is a class; give an object of it, like {name}()")
            raise UserError(f"{name} is not an object of a dataclass; {contract}")
        if not isinstance(value, Mapping):
            raise UserError(f"{value_text(value)} is not a part; name its kind ({kinds})")
        kind = value.get("kind")
        if not isinstance(kind, str):
            before = f" before {', '.join(map(str, value))}" if value else ""
            raise UserError(f"a part needs its kind{before} ({kinds})")
        cls = own_class(kind, contract) if ":" in kind else classes.get(kind)
        if cls is None:
            raise unknown_kind(kind, classes, lists)
        part: Any = read(cls, {key: item for key, item in value.items() if key != "kind"})
        if is_own(part):
            check_settings(part)
        return part

    return read_part


def unknown_kind(kind: str, kinds: Iterable[str], lists: str) -> UserError:
    """The error for a name that is no kind; it may be half the name of a part of the user's."""
    is_class = kind[:1].isupper() and not difflib.get_close_matches(kind.lower(), list(kinds), 1, 0.6)
    if not is_class and not kind.endswith(".py"):
        return UserError(f"unknown kind '{kind}'{nearest(kind, kinds, lists=lists)}")
    example = f"my_file.py:{kind}" if is_class else f"{kind}:Name"
    return UserError(f"'{kind}' is not a kind; your own part is named by its file and class, like {example}")


def check_settings(part: Any) -> None:
    """UserError for a part of the user's with a field that run.json cannot hold."""
    for name, value in plain_data(part).items():
        try:
            json.dumps(value)
        except TypeError:
            kind = type(getattr(part, name)).__name__
            raise UserError(
                f"{reference_of(type(part))}: its setting {name} is of type {kind}; settings are numbers, "
                "text, true, false, lists and tables; make anything else in __call__, or in a field with "
                "init=False"
            ) from None


def read(cls: type[T], tree: Mapping[str, Any]) -> T:
    """The dataclass that a tree describes. Unknown names are refused, and so are numbers for booleans and
    booleans for numbers."""
    try:
        (value,) = _adapter(cls).validate_python((tree,))  # type: ignore[arg-type]  # mypy: a type is hashable
    except ValidationError as error:
        raise UserError(_sentence(cls, tree, error)) from None
    _refuse_bool(tree, value, ())
    return value


@cache
def _adapter(cls: Any) -> TypeAdapter:
    # The type is wrapped in a tuple, because only then pydantic applies a configuration to dataclasses that
    # have none of their own.
    config = ConfigDict(
        extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, arbitrary_types_allowed=True
    )
    return TypeAdapter(tuple[cls], config=config)


def _refuse_bool(given: Any, read: Any, path: tuple[str, ...]) -> None:
    if isinstance(given, Mapping):
        for key, item in given.items():
            value = read.get(key) if isinstance(read, Mapping) else getattr(read, key, None)
            _refuse_bool(item, value, (*path, key))
    elif (
        isinstance(given, int | float)
        and isinstance(read, int | float)
        and isinstance(given, bool) != isinstance(read, bool)
    ):
        takes = "true or false" if isinstance(read, bool) else "a number"
        raise UserError(f"{'.'.join(path)} is {value_text(given)}; it takes {takes}")


# Error messages

TAKES = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "callable": "a function",
    "dict": "a table of settings",
    "dataclass": "a table of settings",
    "list": "a list",
    "tuple": "a list",
    "none": "null",
}


def _sentence(cls: type, tree: Mapping[str, Any], error: ValidationError) -> str:
    """The first error, in one sentence."""
    errors = [(tuple(e["loc"][1:]), e) for e in error.errors(include_url=False)]
    errors.sort(key=lambda item: item[1]["type"] != "unexpected_keyword_argument")
    location, first = errors[0]
    path = _within(tree, location)
    inside = f"in {'.'.join(map(str, path))}: " if path else ""
    if first["type"] == "unexpected_keyword_argument":
        *above, name = map(str, path)
        names = _names(cls, path[:-1])
        full, top = ".".join([*above, name]), _names(cls, ())
        of_a_run = "objective" in top or hasattr(cls, "kind")  # a part is read on its own
        typing_error = above and difflib.get_close_matches(name, names, 1, 0.8)  # optimiser.beta is no KL
        answer = "" if typing_error else answer_within(full, _at(tree, path), None if of_a_run else top)
        return answer or f"unknown setting '{full}'{nearest(name, names, above)}"
    if first["type"] == "missing" and isinstance(location[-1], str):
        return f"{inside}'{location[-1]}' is missing and has no default; set it"
    if first["type"] == "value_error":
        return f"{inside}{first['ctx']['error']}"
    value = _at(tree, path)
    if isinstance(value, Mapping) and (answer := answer_within(".".join(map(str, path)), value)):
        return answer
    if first["type"] in ("missing", "too_long"):
        allowed = f"a {'longer' if first['type'] == 'missing' else 'shorter'} list"
    elif first["type"] == "literal_error":
        allowed = str(first["ctx"]["expected"])
    else:
        same = [e["type"] for place, e in errors if place[: len(path)] == path]
        allowed = " or ".join(dict.fromkeys(TAKES.get(kind.split("_")[0], "something else") for kind in same))
    full = ".".join(map(str, path))
    if allowed == "a list" and isinstance(value, str):
        allowed += f", like [{value}]"
    if "a table of settings" in allowed and (names := _names(cls, path)):
        allowed += f", like {full}.{names[0]}=..."
    return f"{full} is {value_text(value)}; it takes {allowed}"


def value_text(value: Any) -> str:
    """A value as a user would write it."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return f"'{value}'" if isinstance(value, str) else "a table" if isinstance(value, Mapping) else str(value)


def _within(tree: Any, location: tuple[Any, ...]) -> tuple[Any, ...]:
    """The part of pydantic's location that is a path in the tree (the location also names types)."""
    for depth, key in enumerate(location):
        inside = isinstance(tree, Mapping) and key in tree
        if not inside and not (isinstance(tree, list | tuple) and isinstance(key, int) and key < len(tree)):
            return location[:depth]
        tree = tree[key]
    return location


def _at(tree: Any, path: Iterable[Any]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _names(hint: Any, path: tuple[Any, ...]) -> list[str]:
    """The settings of the dataclass at a path."""
    for key in path:
        table = _table(hint)
        if typing.get_origin(table) is dict:
            hint = typing.get_args(table)[1]
        else:
            hint = typing.get_type_hints(typing.get_origin(table) or table, include_extras=True)[key]
    cls = _table(hint)
    cls = typing.get_origin(cls) or cls
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return [f.name for f in fields if f.init and f.name != "kind"]


def _table(hint: Any) -> Any:
    """The dataclass or dictionary type within annotated and optional types."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _table(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return next(arg for arg in map(_table, typing.get_args(hint)) if arg is not type(None))
    return hint
