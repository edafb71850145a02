"""`menon COMMAND --help`: usage, what the command does, and its settings with the sentences of their
fields."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from menon.cli import folded
from menon.cli.catalogue import GROUPS, in_group
from menon.cli.source_text import PACKAGE, Setting, docstring, settings_of
from menon.recipes import PIPELINES, class_of

WIDEST, NARROWEST = 110, 72
COLUMN, TYPE = 31, 8
"""Column at which types begin, and their width; a longer setting has its own line."""

SETTINGS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "pretrain": (
        ("", "base.recipe", "Recipe"),
        ("corpus=sums", "base.corpus", "PretrainRecipe"),
        ("corpus=search", "base.search", "SearchRecipe"),
    ),
    "eval": (("", "eval.config", "EvalConfig"),),
    "sample": (("", "assembly.sample", "SampleConfig"),),
    "posterior": (("", "assembly.posterior", "PosteriorConfig"),),
    "study": (("", "study.entropy", "EntropyStudy"),),
    "simulate": (("", "simulate.plan", "SimulateConfig"),),
    "serve": (("", "serve.config", "ServeConfig"),),
}
"""Command -> (owner, module of this package, dataclass) whose fields are its settings. Those of `train` and
`explain` are in the catalogue."""
MORE = (
    "`menon help NAME` says all about a setting (`menon help reward` lists the kinds of a part), a part "
    "(`menon help ppo_clip`), a recipe (`menon help gspo`) or a metric (`menon help clip/frac`). "
    "`menon explain RECIPE` shows the values of a recipe, with full=true as YAML that `menon train` reads."
)


def width_here() -> int:
    """The width of help on this terminal."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def help_of(command: str, words: Sequence[str], usage: str, function: tuple[str, str]) -> str:
    """The help of a command. `usage` is the general help, from which the command's lines are taken;
    `function` is the module of this folder and the name of what runs it; `words` may name a recipe."""
    width = width_here()
    lines = [line for line in usage.splitlines() if line.startswith(f"  menon {command} ")]
    lines = list(folded(lines, width))
    lines += ["", *paragraphs(docstring(f"cli.{function[0]}", function[1]), width)]
    for word in words:
        if (PACKAGE / "recipes" / f"{word}.py").exists():
            name = class_of(word) if word in PIPELINES else word
            lines += ["", f"{word}:", *indented(paragraphs(docstring(f"recipes.{word}", name), width - 2))]
    if command == "check":
        for name in ("verifier", "code", "data"):
            text = docstring(f"cli.check_{name}", f"check_{name}")
            lines += ["", f"check {name}:", *indented(paragraphs(text, width - 2))]
    for owner, module, cls in SETTINGS.get(command, ()):
        title = f"settings of {owner}" if owner else "settings"
        lines += ["", title, *table(((one.name, one) for one in settings_of(module, cls)), width)]
    if command in ("train", "explain"):
        lines += run_settings_text(width)
    return "\n".join(lines) + "\n"


def run_settings_text(width: int) -> list[str]:
    """The settings of a run in groups, each in one line where it fits."""
    lines: list[str] = []
    for group in GROUPS:
        lines += ["", f"{group.name}: {group.sentence}"]
        lines += table(((one.short, one.setting) for one in in_group(group)), width)
    return [*lines, "", *textwrap.wrap(MORE, width, break_on_hyphens=False)]


def table(settings: Iterable[tuple[str, Setting]], width: int) -> Iterator[str]:
    """A line for each setting: name and default, type, first sentence."""
    for name, one in settings:
        left = f"  {name}={one.default}" if one.default else f"  {name}"
        if len(left) > COLUMN - 2:
            yield left
            left = ""
        left = f"{left:<{COLUMN}}{one.short_type:<{TYPE}}"
        lines = textwrap.wrap(summary(one), width - len(left), break_on_hyphens=False) or [""]
        yield f"{left}{lines[0]}".rstrip()
        yield from (" " * len(left) + line for line in lines[1:])


def summary(one: Setting) -> str:
    """The first sentence of a setting, with the values of a choice."""
    return f"{one.first} ({'|'.join(one.choices)})" if one.short_type == "choice" else one.first


def indented(lines: Sequence[str]) -> list[str]:
    """The lines with an indentation of two spaces; empty lines stay empty."""
    return [f"  {line}" if line else "" for line in lines]


def paragraphs(text: str, width: int) -> list[str]:
    """Text at this width, an empty line between its paragraphs; lines of tables and examples stay as they
    are."""
    lines: list[str] = []
    for part in text.split("\n\n"):
        fixed = part.startswith(("|", ">>>", "    "))
        lines += [*(part.splitlines() if fixed else textwrap.wrap(part, width, break_on_hyphens=False)), ""]
    return lines[:-1]
