"""What a recipe of stages would do, and what help says of it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from menon.cli.help import indented, paragraphs, table
from menon.cli.source_text import docstring, settings_of
from menon.recipes import class_of

if TYPE_CHECKING:
    from menon.settings import Tree


def settings_help(recipe: str, width: int) -> Iterator[str]:
    """The text about a pipeline, and its own settings."""
    module, cls = f"recipes.{recipe}", class_of(recipe)
    yield from paragraphs(docstring(module, cls), width)
    yield ""
    own = settings_of(module, cls)
    names = {one.name for one in own}
    every = [*own, *(one for one in settings_of("pipeline.stage", "Pipeline") if one.name not in names)]
    yield from (line.removeprefix("  ") for line in table(((one.name, one) for one in every), width))


def explained(recipe: str, changes: "Sequence[Tree]", width: int) -> Iterator[str]:
    """The stages of a pipeline, each in a line, with what they read of each other."""
    from menon.cli.configuration import text_of_value, wrapped
    from menon.pipeline.plan import planned
    from menon.settings import plain_data

    plan = planned(recipe, changes)
    yield f"menon explain  {recipe}, {len(plan.stages)} stages"
    yield ""
    yield from indented(paragraphs(docstring(f"recipes.{recipe}", class_of(recipe)), width - 2))
    yield ""
    longest = max(map(len, plan.stages))
    for number, (name, stage) in enumerate(plan.stages.items(), 1):
        state = " (skipped)" if name in plan.skipped else ""
        yield from wrapped(f"  {number:>2} {name:<{longest}}  ", stage.words() + state, width)
    yield ""
    settings = plain_data(plan.settings) | {"skip": ",".join(plan.settings.skip)}
    shown = ", ".join(f"{name}={text_of_value(value)}" for name, value in settings.items() if name != "out")
    yield from wrapped("  settings  ", shown, width)
    first = next(iter(plan.stages))
    how = f"{first}.key=value is a setting of one stage; `menon explain` shows those of the recipe of a run"
    yield from wrapped("            ", how, width)
