"""The settings in which runs differ."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OF_EACH_RUN = ("control.seed", "control.out", "control.tracker", "control.wandb_project", "engine.threads")
"""Settings that every run has for itself; they are no difference between experiments."""
ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """A setting with different values in several runs."""

    path: tuple[str, ...]
    values: tuple[Any, ...]
    """One per run; of a table its kind, None where a run has no such setting."""
    name: str = ""
    """The shortest end of the path that no other difference has."""

    def text(self, run: int) -> str:
        """The value in a run, as it is typed."""
        return value_text(self.values[run])


def differences(
    settings: Sequence[Mapping[str, Any]], ignored: Sequence[str] = OF_EACH_RUN
) -> list[Difference]:
    """Every setting that is not the same in all runs, in the order of the configuration. Where parts are of
    different kinds, the kinds are the difference and their own settings are left out.

    >>> different = differences([{"loss": {"kind": "a", "clip": 1}}, {"loss": {"kind": "b"}}])
    >>> [(one.name, one.values) for one in different]
    [('loss', ('a', 'b'))]
    """
    found = [
        (path, tuple(map(shown, values)))
        for path, values in unequal((), settings)
        if ".".join(path) not in ignored and not (path[0] == "own_code" and same_code(values))
    ]
    paths = [path for path, _ in found]
    return [Difference(path, values, short_name(path, paths)) for path, values in found]


def same_code(hashes: Sequence[Any]) -> bool:
    """Whether the runs that use a file of the user's used the same version of it."""
    return len({code for code in hashes if code is not ABSENT}) < 2


def unequal(path: tuple[str, ...], values: Sequence[Any]) -> list[tuple[tuple[str, ...], Sequence[Any]]]:
    """Paths below `path` at which the values of the trees are not all the same."""
    if all(value == values[0] for value in values):
        return []
    tables = [value for value in values if isinstance(value, Mapping)]
    kinds = {table.get("kind") for table in tables}
    plain = [value for value in values if not isinstance(value, Mapping) and value is not ABSENT]
    # A part that some runs lack is one difference; so is a table beside a plain value.
    if not tables or plain or len(kinds) > 1 or (kinds != {None} and len(tables) < len(values)):
        return [(path, values)]
    names = dict.fromkeys(name for table in tables for name in table)
    return [
        place
        for name in names
        for place in unequal(
            (*path, name), [v.get(name, ABSENT) if isinstance(v, Mapping) else ABSENT for v in values]
        )
    ]


def shown(value: Any) -> Any:
    """A value of a table of differences: of a part its kind."""
    if value is ABSENT:
        return None
    return value.get("kind", "a table") if isinstance(value, Mapping) else value


def short_name(path: tuple[str, ...], paths: Sequence[tuple[str, ...]]) -> str:
    """The shortest end of a path that no other path has."""
    lengths = range(1, len(path) + 1)
    alone = (n for n in lengths if sum(other[-n:] == path[-n:] for other in paths) == 1)
    return ".".join(path[-next(alone, len(path)) :])


def beyond_recipe(
    found: Sequence[Difference],
    recipes: Sequence[str],
    default: Callable[[int], Mapping[str, Any] | None],
) -> list[Difference]:
    """The differences that the names of the recipes do not explain: those where some run has another value
    than its recipe. `default` gives the settings of a run's recipe, None if it is not known."""
    if len(set(recipes)) < 2:
        return list(found)
    trees = [default(run) for run in range(len(recipes))]
    return [
        one
        for one in found
        if one.path != ("recipe",)
        and any(
            tree is None or shown(at(tree, one.path)) != value
            for tree, value in zip(trees, one.values, strict=True)
        )
    ]


def at(tree: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The value at a path; ABSENT if there is none."""
    value: Any = tree
    for name in path:
        value = value.get(name, ABSENT) if isinstance(value, Mapping) else ABSENT
    return value


def value_text(value: Any) -> str:
    """A value as it is typed; a dash where a run has no such setting, eight characters of a hash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        if ".py:" in value:  # a part of the user's, whose file is named by its whole path
            value = value.rpartition("/")[2]
        is_hash = len(value) == 64 and set(value) <= set("0123456789abcdef")
        return value[:8] if is_hash else value or "-"
    return f"[{', '.join(map(value_text, value))}]" if isinstance(value, list | tuple) else str(value)
