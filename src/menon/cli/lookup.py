"""`menon help NAME`: all that is known of a command, a recipe, a stage, a part, a setting or a metric.

Nothing heavy is imported. A name can mean several things (`gspo` is a recipe and a loss); all of them are
shown.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from menon.cli import COMMANDS
from menon.cli.catalogue import STAGES, Listed, Stage, all_parts, page_of, run_settings
from menon.cli.help import SETTINGS, indented, paragraphs, table, width_here
from menon.cli.source_text import Part, Setting, docstring, keys_of, settings_of
from menon.cli.stages import settings_help
from menon.docstrings import first_sentence
from menon.errors import UserError
from menon.metric_names import EVALUATION, METRICS, described, metric_lines
from menon.other_names import answer_for
from menon.recipes import PIPELINES, RECIPES

NAMES = {
    "template": ("prompts.template", "TEMPLATES", "docs/data.md"),
    "set": ("eval.sets", "SETS", "docs/evaluation.md"),
}
"""Setting -> module, dictionary whose keys are its names, and page."""


def help_for(name: str) -> str:
    """All that is known of a name, or else of the last part of a dotted one. UserError: nothing is, with the
    nearest names."""
    width = width_here()
    name = name.lstrip("-").partition("=")[0]
    for one in dict.fromkeys((name, name.lower(), name.rpartition(".")[2])):
        if found := [block for topic in TOPICS for block in topic(one, width)]:
            return "\n\n".join("\n".join(block) for block in found) + "\n"
    near = get_close_matches(name.lower(), sorted(known()), 3, 0.6)
    advice = f"did you mean {any_of(near)}?" if near else "`menon train --help` lists the settings"
    raise UserError(f"there is no help on '{name}'; {advice}")


def any_of(names: Sequence[str]) -> str:
    """
    >>> any_of(["steps", "stop"])
    "'steps' or 'stop'"
    """
    *others, last = [f"'{name}'" for name in names]
    return f"{', '.join(others)} or {last}" if others else last


def known() -> set[str]:
    """Every name that can be looked up."""
    stages = {word for stage in STAGES for word in (stage.name, *stage.also)}
    kinds = (part.kind for _, part in all_parts())
    names = {
        *RECIPES,
        *PIPELINES,
        "recipes",
        "metrics",
        *COMMANDS,
        *EVALUATION,
        *stages,
        *run_settings(),
        *METRICS,
        *kinds,
    }
    return names | {setting.name for _, part in all_parts() for setting in part.settings}


# What a name can mean: each gives blocks of lines


def recipe_topic(name: str, width: int) -> Iterator[list[str]]:
    """A recipe: what it does, how to see and run it."""
    if name in ("recipe", "recipes"):
        yield [
            "recipe: a whole configuration, set as `menon train RECIPE`",
            *(f"  {recipe:<22}{text}" for recipe, text in (RECIPES | PIPELINES).items()),
        ]
    if name in PIPELINES:
        text = [PIPELINES[name], "", *settings_help(name, width - 2), ""]
        rest = [f"see   menon explain {name}", f"run   menon train {name}", f"page  {page_of(name)}"]
        yield [f"recipe {name}, of several stages", *indented([*text, *rest])]
    if name in RECIPES:
        text = [RECIPES[name], "", *paragraphs(docstring(f"recipes.{name}", name), width - 2), ""]
        rest = [f"see   menon explain {name}", f"run   menon train {name}", f"page  {page_of(name)}"]
        yield [f"recipe {name}", *indented([*text, *rest])]


def stage_topic(name: str, width: int) -> Iterator[list[str]]:
    """A place for a part: what it is for, and the kinds of part."""
    for stage in STAGES:
        place = re.escape(stage.place).replace("NAME", r"\w+")
        if name in (stage.name, *stage.also) or re.fullmatch(place, name):
            example = f"{stage.place}={stage.parts[0].kind}"
            lines = [f"{stage.name}, set as {example}", *indented(paragraphs(stage.sentence, width - 2)), ""]
            for part in stage.parts:
                first = textwrap.wrap(first_sentence(part.text), width - 26, break_on_hyphens=False) or [""]
                lines += [f"  {part.kind:<24}{first[0]}", *(f"{'':26}{line}" for line in first[1:])]
            yield [*lines, "", f"  page  {stage.page}"]


def part_topic(name: str, width: int) -> Iterator[list[str]]:
    """A kind of part: what it computes, and its settings."""
    for stage, part in all_parts():
        if name in (part.kind, part.cls):
            yield [
                f"{stage.name} {part.kind}, set as {stage.place}={part.kind}",
                *indented(paragraphs(part.text, width - 2)),
                *settings_block(part, width),
                "",
                f"  page  {page_of(part.kind, stage)}",
            ]


def settings_block(part: Part, width: int) -> Iterator[str]:
    """The settings of a part, below an empty line; nothing if it has none."""
    if part.settings:
        yield from ("", *table(((one.name, one) for one in part.settings), width))


def setting_topic(name: str, width: int) -> Iterator[list[str]]:
    """A setting of a run, of its parts, or of another command, by its short or full name."""
    last = name.rpartition(".")[2]
    exact = [one for one in run_settings().values() if name in (one.short, one.full)]
    owners = exact or [one for one in run_settings().values() if one.full.endswith(f".{name}")]
    for one in owners:
        if one.full != one.setting.name or one.full not in {stage.name for stage in STAGES}:
            yield setting_block(one, width)
    parts = [] if owners else [found for found in of_parts(last) if fits(name, found[0])]
    for place, settings in grouped(parts).items():
        yield [
            f"setting {last} of {place}, with its default in each kind",
            *indented(list(table(settings, width - 2))),
        ]
    command, _, of_command = name.partition(".")
    wanted = of_command if command in SETTINGS else name
    for command, setting in of_commands(wanted):
        if name == f"{command}.{wanted}" or not (owners or parts):
            yield [f"setting {wanted} of menon {command}", *details(setting, width)]
        else:
            yield textwrap.wrap(f"{wanted} is also a setting of menon {command}: {setting.first}", width)


def of_commands(name: str) -> Iterator[tuple[str, Setting]]:
    """The commands that do not train and have a setting of this name."""
    for command, places in SETTINGS.items():
        every = [setting for _, module, cls in places for setting in settings_of(module, cls)]
        yield from ((command, setting) for setting in every if setting.name == name)


def names_topic(name: str, width: int) -> Iterator[list[str]]:
    """The names that a setting may have, and what such a name is."""
    for setting, (module, dictionary, page) in NAMES.items():
        names = keys_of(module, dictionary)
        if name in (setting, f"{setting}s"):
            yield [*textwrap.wrap(f"{setting}: {', '.join(names)}", width), "", f"  page  {page}"]
        elif name in names:
            yield [f"{setting} {name}, set as {setting}={name}", "", f"  page  {page}"]


def table_topic(name: str, width: int) -> Iterator[list[str]]:
    """A table of settings, like `critic` or `optimiser`: the settings in it."""
    inside = [one for one in run_settings().values() if f".{name}." in f".{one.full.rpartition('.')[0]}."]
    if inside and name not in run_settings():
        rows = table(((one.short, one.setting) for one in inside), width)
        yield [f"settings of {name}", *rows]


def setting_block(one: Listed, width: int) -> list[str]:
    """A setting of a run."""
    full = "" if one.full == one.short else f", in full {one.full}"
    return [f"setting {one.short}{full}", *details(one.setting, width)]


def details(setting: Setting, width: int) -> list[str]:
    """Type, default and all sentences of a setting."""
    default = f"default {setting.default}" if setting.default else "no default"
    kind = f"{setting.type or setting.short_type}; {default}"
    return indented([*textwrap.wrap(kind, width - 2), *paragraphs(setting.sentence, width - 2)])


def of_parts(name: str) -> Iterator[tuple[Stage, Part, Setting]]:
    """The parts that have a setting of this name."""
    for stage, part in all_parts():
        yield from ((stage, part, setting) for setting in part.settings if setting.name == name)


def fits(path: str, stage: Stage) -> bool:
    """Whether a dotted name can belong to a stage: objective.policy.loss.clip_high is a loss's."""
    above = path.split(".")[:-1]
    return not above or above[-1] not in {one.name for one in STAGES} or above[-1] == stage.name


def grouped(found: Sequence[tuple[Stage, Part, Setting]]) -> dict[str, list[tuple[str, Setting]]]:
    """Stage -> the settings of its parts, each under the kind that has it."""
    places: dict[str, list[tuple[str, Setting]]] = {}
    for stage, part, setting in found:
        places.setdefault(stage.place, []).append((part.kind, setting))
    return places


def metric_topic(name: str, width: int) -> Iterator[list[str]]:
    """A metric, a group of them (`clip`), or all."""
    if name in ("metric", "metrics"):
        yield metric_lines(METRICS, width)
    elif name in EVALUATION:
        unit, meaning = EVALUATION[name]
        yield [
            f"number {name} of an evaluation",
            *indented([f"unit: {unit}", *paragraphs(meaning, width - 2)]),
        ]
    elif found := described(name):
        yield [f"metric {name}", *indented([f"unit: {found.unit}", *paragraphs(found.meaning, width - 2)])]
    elif several := {full: one for full, one in METRICS.items() if full.startswith(f"{name.rstrip('/')}/")}:
        yield metric_lines(several, width)


def answer_topic(name: str, width: int) -> Iterator[list[str]]:
    """A name of another library: what it is here, and the settings that the answer ends with."""
    if name not in run_settings() and (answer := answer_for(name)):
        yield textwrap.wrap(f"{answer}.", width, break_on_hyphens=False)
        yield from (
            setting_block(run_settings()[word], width) for word in answer.split() if word in run_settings()
        )


TOPICS = (
    *(recipe_topic, stage_topic, part_topic, setting_topic, names_topic, table_topic, metric_topic),
    answer_topic,
)
