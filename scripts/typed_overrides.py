"""Writes src/menon/overrides.py, the types of the arguments of `menon.train`, `menon.evaluate` and
`menon.posterior`, from the dataclasses of the configuration.

python scripts/typed_overrides.py
"""

import dataclasses
import subprocess
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from menon.cli.catalogue import OWNERS, run_settings
from menon.cli.source_text import settings_of
from menon.recipes import PIPELINES, RECIPES

FILE = Path(__file__).parents[1] / "src" / "menon" / "overrides.py"
TABLES = {
    "columns": "Columns of `data`: question and answer.",
    "natural": "TRPO's step for the policy: max_kl, damping, ...; null: the optimiser's.",
    "adapter": "LoRA: rank, alpha, targets; null: all weights learn.",
    "critic": "The value model: objective, optimiser, updates_per_step, ...; null: none.",
    "optimiser": "The policy's optimiser: learning_rate, betas, ...",
    "rows": "The settings of given text, in one table.",
    "source": "The settings of questions and answers, in one table.",
    "models": "The settings of the models, in one table.",
    "engine": "The settings of memory and speed, in one table.",
    "control": "The settings of length, record and seed, in one table.",
}
"""Settings that are tables of settings, which may also be given as a whole."""
HEAD = '''\
"""The arguments of `menon.train`, `menon.evaluate` and `menon.posterior`, for type checkers and editors.
Written by scripts/typed_overrides.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypedDict


class PartObject(Protocol):
    """A part as an object: a frozen dataclass whose fields are its settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Table = Mapping[str, Any] | PartObject
"""A table of settings."""
Part = str | Table
"""A part by the name of its kind, by a table with its kind and settings, or as an object."""
Reward = Part | Callable[..., Any]
"""A rule by name, a function, file.py:name, or a part."""
'''


def text() -> str:
    """The whole file, before the formatter."""
    names = ", ".join(f'"{name}"' for name in (*RECIPES, *PIPELINES))
    return "\n".join(
        [
            HEAD,
            f"RecipeName = Literal[{names}]",
            '"""The name of a recipe (docs/recipes.md)."""',
            "",
            "",
            *typed_dict("Overrides", "Settings of a run, as in `menon train --help`.", run_fields()),
            "",
            "",
            *typed_dict(
                "EvalOverrides",
                "Settings of an evaluation, as in `menon eval --help`.",
                fields_of("eval.config", "EvalConfig"),
            ),
            "",
            "",
            *typed_dict(
                "PosteriorOverrides",
                "Settings of draws, as in `menon posterior --help`.",
                fields_of("assembly.posterior", "PosteriorConfig"),
            ),
            "",
        ]
    )


def typed_dict(name: str, sentence: str, fields: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """The lines of a TypedDict."""
    yield f"class {name}(TypedDict, total=False):"
    yield f'    """{sentence}"""'
    yield ""
    for field, (hint, said) in fields.items():
        yield f"    {field}: {hint}"
        lines = textwrap.wrap(said, 96, break_on_hyphens=False, break_long_words=False)
        yield '    """' + "\n    ".join(lines) + '"""'


def run_fields() -> dict[str, tuple[str, str]]:
    """Name -> type and sentence of every setting of a run that has a name without dots."""
    hints = {
        f"{owner}.{name}" if owner else name: hint
        for owner, place in OWNERS.items()
        for name, hint in hints_of(*place).items()
    }
    found = {
        short: (hint_text(hints[one.full], short), one.setting.sentence)
        for short, one in run_settings().items()
        if "." not in short
    }
    tables = {name: ("Table | None", sentence) for name, sentence in TABLES.items()}
    return found | {name: table for name, table in tables.items() if name not in found}


def fields_of(module: str, cls: str) -> dict[str, tuple[str, str]]:
    """Name -> type and sentence of every setting of a command that takes the model first."""
    hints, settings = hints_of(module, cls), settings_of(module, cls)
    return {
        one.name: (hint_text(hints[one.name], one.name), one.sentence)
        for one in settings
        if one.name != "model"
    }


def hints_of(module: str, cls: str) -> dict[str, Any]:
    """Field -> type of a dataclass of the package."""
    found = getattr(import_module(f"menon.{module}"), cls)
    return typing.get_type_hints(typing.get_origin(found) or found)


def hint_text(hint: Any, name: str) -> str:
    """The type of an argument, in simple words of typing."""
    if name == "reward":
        return "Reward | None"
    members = typing.get_args(hint) if is_union(hint) else (hint,)
    return " | ".join(dict.fromkeys(word for member in members for word in words(member)))


def is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def words(hint: Any) -> Iterator[str]:
    """One member of a union as text; parts and tables have names of their own in the file."""
    origin = typing.get_origin(hint)
    if hint is type(None):
        yield "None"
    elif hint in (int, float, str, bool):
        yield hint.__name__
    elif origin is typing.Literal:
        yield f"Literal[{', '.join(map(repr, typing.get_args(hint)))}]"
    elif origin is tuple:
        yield f"Sequence[{hint_text(typing.get_args(hint)[0], '')}]"
    elif origin is dict:
        yield "Mapping[str, Any]"
    elif isinstance(origin or hint, type) and dataclasses.is_dataclass(origin or hint):
        yield "Part" if hasattr(origin or hint, "kind") else "Table"
    else:  # a function
        yield "Callable[..., Any]" if origin is not None and issubclass(origin, Callable) else "Any"


def main() -> int:
    FILE.write_text(text(), encoding="utf-8")
    return subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(FILE)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
