"""Short names of settings: finds the setting that a name without dots stands for, by the types of a
configuration."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from menon.errors import UserError, nearest
from menon.other_names import answer_near, answer_within, leaves
from menon.settings import Tree, merged, plain_data
from menon.user_code import own_class


def spelt_out(change: Tree, tree: Tree, cls: Any, owners: Iterable[Sequence[str]]) -> Tree:
    """A change with every short name written out.

    A name that `cls` lacks stands for the setting of that name in the first group of owners (dotted paths)
    that has one; inside a table, for the one setting of that name below it. UserError: no setting has the
    name, or several in the group have it.
    """
    whole: Tree = {}
    groups = [[tuple(owner.split(".")) for owner in group] for group in owners]
    own = {name for group in groups for start in group for name in _own_names(_reach(tree, cls, start)[1])}
    # An owner's own settings come first, because one of them may choose a part whose settings follow.
    for name in sorted(change, key=lambda name: name not in own):
        value = change[name]
        if name in _field_names(cls):
            _refuse_one_part(name, value, tree.get(name), _hints(cls)[name])
            piece = {name: _spelt_below(value, tree.get(name), _hints(cls)[name], (name,))}
        else:
            path = _find(name, value, merged(tree, whole), cls, groups, change)
            piece = {path[-1]: _spelt_below(value, *_reach(tree, cls, path), path)}
            for key in reversed(path[:-1]):
                piece = {key: piece}
        whole = merged(whole, piece)
    return whole


def _refuse_one_part(name: str, value: Any, table: Any, hint: Any) -> None:
    """UserError if text is given for a table of parts or terms by name, like advantage=rloo."""
    if isinstance(value, str) and typing.get_origin(_bare(hint)) is dict:
        entry = typing.get_args(_bare(hint))[1]
        first = next(iter(table or ()), "NAME")
        place = [name, first, *(_field_names(entry)[:1] if _is_term(entry) else ())]
        raise UserError(f"{name} is a table of parts by name; write {'.'.join(place)}={value}")


def _is_term(entry: Any) -> bool:
    """Whether the entries of a table are tables themselves, as terms are, and not parts."""
    return dataclasses.is_dataclass(typing.get_origin(entry))


def _find(
    name: str, value: Any, tree: Tree, cls: Any, groups: Sequence[Sequence[tuple[str, ...]]], change: Tree
) -> tuple[str, ...]:
    """The path of a short name. An owner's own setting is preferred to those of its parts, because a judge
    has a `model` too. `change` holds the settings beside it, which are answered together."""
    for group in groups:
        for start in group:
            if name in _own_names(_reach(tree, cls, start)[1]):
                return (*start, name)
    for group in groups:
        below = [(*start, *path) for start in group for path in _paths(*_reach(tree, cls, start))]
        if places := [path for path in below if path[-1] == name]:
            return _only(name, places)
    if answer_within(name, value):
        tables = {one: item for one, item in change.items() if one == name or isinstance(item, Mapping)}
        raise UserError(answer_within("", tables))
    names = {path[-1] for group in groups for start in group for path in _paths(*_reach(tree, cls, start))}
    if known := [path for path in leaves(name, value) if path != name and path.rpartition(".")[2] in names]:
        raise UserError(f"{known[0]} is {known[0].rpartition('.')[2]} here")
    starts = [start for group in groups for start in group]
    reached = [_reach(tree, cls, start) for start in starts]
    hints = [(start, hint) for start, (_, hint) in zip(starts, reached, strict=True)]
    if elsewhere := [part for start, hint in hints for part in _kinds_with(name, start, hint)]:
        raise UserError(f"this run has no setting '{name}'; it belongs to {_some(elsewhere, name)}")
    every = names | set(_field_names(cls))
    if answer := answer_near(name, every):
        raise UserError(f"unknown setting '{name}'; {answer}")
    raise UserError(f"unknown setting '{name}'{nearest(name, every, lists='menon train --help')}")


def _kinds_with(name: str, start: Sequence[str], owner: Any) -> Iterator[str]:
    """The settings that choose a part with a setting of this name, like `rollout=tree`."""
    if typing.get_origin(_bare(owner)) is dict:  # parts by name, or terms by name
        entry = typing.get_args(_bare(owner))[1]
        fields = _hints(entry) if _is_term(entry) else {"": entry}
        hints = {".".join((*start, "NAME", field)).rstrip("."): hint for field, hint in fields.items()}
    else:
        hints = {field: _hints(_table_for(owner, {}))[field] for field in _own_names(owner)}
    for place, hint in hints.items():
        for part in _tables_in(hint):
            if name in _field_names(part):
                yield f"{place}={part.kind}" if hasattr(part, "kind") else place


def _some(places: Sequence[str], name: str) -> str:
    """At most three of the places, and what to do."""
    more = f" and others (`menon help {name}` lists them)" if len(places) > 3 else ""
    first = places[:3]
    if more:
        return f"{', '.join(first)}{more}; name one of them before it"
    return f"{' or '.join(first)}, which must come before it"


def _only(name: str, places: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    if len(places) > 1:
        both = " and ".join(".".join(path) for path in places)
        raise UserError(f"'{name}' could be {both}; write the one that you mean")
    return places[0]


def _own_names(hint: Any) -> list[str]:
    table = _table_for(hint, {})
    return [] if table is None else _field_names(table)


def _spelt_below(value: Any, tree: Any, hint: Any, above: tuple[str, ...]) -> Any:
    """Writes out short names inside a table at the path `above`: a name that the table lacks stands for the
    one setting of that name below it."""
    if not isinstance(value, Mapping):
        return value
    table = _table_for(hint, value if "kind" in value else tree if tree is not None else value)
    if typing.get_origin(_bare(hint)) is dict:
        inner, tree = typing.get_args(_bare(hint))[1], tree if isinstance(tree, Mapping) else {}
        return {key: _spelt_below(item, tree.get(key), inner, (*above, key)) for key, item in value.items()}
    if table is None:
        return value
    tree = tree if isinstance(tree, Mapping) else {}
    spelt: Tree = {}
    for name, item in value.items():
        if name in _field_names(table) or name == "kind":
            inner = _hints(table).get(name, Any)
            piece = {name: _spelt_below(item, tree.get(name), inner, (*above, name))}
        else:
            places = [(*above, *path) for path in _paths(tree, table) if path[-1] == name]
            path = _only(name, places)[len(above) :] if places else (name,)
            piece = {path[-1]: item}
            for key in reversed(path[:-1]):
                piece = {key: piece}
        spelt = merged(spelt, piece)
    return spelt


def _reach(tree: Any, hint: Any, path: Sequence[str]) -> tuple[Any, Any]:
    """The value at a path, and its type."""
    for name in path:
        table = _table_for(hint, tree)
        hint = typing.get_args(_bare(hint))[1] if table is None else _hints(table).get(name, Any)
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree, hint


def _paths(tree: Any, hint: Any) -> Iterator[tuple[str, ...]]:
    """Every setting below a place, as a path from there."""
    if typing.get_origin(_bare(hint)) is dict:
        inner = typing.get_args(_bare(hint))[1]
        for key, item in (tree or {}).items() if isinstance(tree, Mapping) else ():
            yield from ((key, *path) for path in _paths(item, inner))
        return
    table = _table_for(hint, tree)
    if table is None:
        return
    for f in dataclasses.fields(typing.get_origin(table) or table):
        if f.init and f.name != "kind":
            yield (f.name,)
            value = tree[f.name] if isinstance(tree, Mapping) and f.name in tree else _default(f)
            yield from ((f.name, *path) for path in _paths(value, _hints(table)[f.name]))


def _default(f: dataclasses.Field) -> Any:
    made = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
    return None if made is dataclasses.MISSING else plain_data(made)


def _bare(hint: Any) -> Any:
    return _bare(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Annotated else hint


def _table_for(hint: Any, tree: Any) -> Any:
    """The dataclass of a value of this type; if there are several, the one with the value's `kind`. None: it
    is no table."""
    tables = list(_tables_in(hint))
    if typing.get_origin(_bare(hint)) not in (typing.Union, types.UnionType):
        return tables[0] if tables else None
    if isinstance(tree, str) and str in typing.get_args(_bare(hint)) and ":" in tree:
        return None  # the name of a function; its file is not loaded here
    kind = tree if isinstance(tree, str) else tree.get("kind") if isinstance(tree, Mapping) else None
    if isinstance(kind, str) and ":" in kind:
        return own_class(kind)
    if kind is not None:
        return next((table for table in tables if getattr(table, "kind", None) == kind), None)
    return tables[0] if tree is not None and len(tables) == 1 else None


def _tables_in(hint: Any) -> Iterator[Any]:
    hint = _bare(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for arg in typing.get_args(hint):
            yield from _tables_in(arg)
    elif dataclasses.is_dataclass(typing.get_origin(hint) or hint):
        yield hint


def _hints(table: Any) -> dict[str, Any]:
    """Field -> type, parameters of a generic dataclass filled in."""
    cls = typing.get_origin(table) or table
    filled = dict(zip(getattr(cls, "__parameters__", ()), typing.get_args(table), strict=False))
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: _filled(hint, filled) for name, hint in hints.items()}


def _filled(hint: Any, filled: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return filled.get(hint, Any)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.Union[tuple(_filled(arg, filled) for arg in typing.get_args(hint))]  # noqa: UP007
    return hint


def _field_names(table: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(typing.get_origin(table) or table) if f.init]
