"""From the words of a user to the stages of a pipeline, each with all its settings."""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from menon.base import default_model
from menon.errors import UserError, nearest
from menon.pipeline.stage import Pipeline, Stage, reads
from menon.recipes import class_of
from menon.settings import Tree, leaves, merged, nested, plain_data, read

SHARED = ("control", "source", "models", "engine")
"""The tables of a run whose settings may be given to all stages at once."""
ONCE = {
    "control.seed": "seed",
    "control.out": "out",
    "engine.threads": "threads",
    "models.policy.model": "model",
}
"""Settings of the whole pipeline, by the names that they have in a run."""


@dataclass(frozen=True)
class Plan:
    """A pipeline that is ready to run."""

    recipe: str
    settings: Pipeline
    stages: Mapping[str, Stage]

    @property
    def out(self) -> Path:
        return Path(self.settings.out)

    @property
    def skipped(self) -> set[str]:
        """The stages that are not to be run."""
        return {name for name in self.stages if not names_of(name).isdisjoint(self.settings.skip)}

    def folder(self, name: str) -> Path:
        """The folder of a stage."""
        return self.out / f"{1 + list(self.stages).index(name)}_{name}"


def planned(recipe: str, changes: Sequence[Tree]) -> Plan:
    """The pipeline of that name with the settings of the user, in their order.

    A name is a setting of the pipeline; or, after the name of a stage, one of that stage; or else one of a
    run, like steps, which every stage gets that has it. The stages write_1, write_2, ... are also reached as
    write. UserError: none of these, or a stage that cannot be.
    """
    cls = settings_class(recipe)
    own, rest = apart(recipe, cls, changes)
    settings = read(cls, own)
    stages = dict(settings.stages())
    given: dict[str, list[Tree]] = {name: [] for name in stages}
    shared: list[Tree] = []
    for name, value in rest:
        if isinstance(value, Mapping) and (found := [one for one in stages if name in names_of(one)]):
            for one in found:
                given[one].append(dict(value))
        else:
            tree = of_all(recipe, name, value, stages)
            shared.append(tree)
    ready: dict[str, Stage] = {}
    for name, stage in stages.items():
        try:
            ready[name] = stage.planned(shared, given[name], settings.model, settings.seed)
        except UserError as error:
            raise UserError(f"stage {name}: {error}") from None
    check_reads(ready)
    return checked(Plan(recipe, settings, ready))


def settings_class(recipe: str) -> type[Pipeline]:
    """The class of a pipeline."""
    found: type[Pipeline] = getattr(import_module(f"menon.recipes.{recipe}"), class_of(recipe))
    return found


def apart(recipe: str, cls: type[Pipeline], changes: Sequence[Tree]) -> tuple[Tree, list[tuple[str, Any]]]:
    """The settings of the pipeline itself, and all others."""
    names = {field.name for field in fields(cls)}
    own: Tree = {}
    rest: list[tuple[str, Any]] = []
    for change in changes:
        for full, value in leaves(change):
            if callable(value) and not is_dataclass(value):
                raise UserError(
                    f"{full} is a function, and a pipeline keeps its settings in a file; name it by its own "
                    f"file, like {full}=my_file.py:{getattr(value, '__name__', 'score')}"
                )
        for name, value in nested(change).items():
            found = {ONCE[full]: item for full, item in leaves({name: value}) if full in ONCE}
            if name in names:
                found = {name: value}
            own = merged(own, found)
            if not found:
                rest.append((name, value))
    own = listed(own)
    if "model" not in own:
        own["model"] = default_model(dict(rest))
    out = own.get("out") or f"runs/{recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    return own | {"out": str(out)}, rest


def listed(own: Tree) -> Tree:
    """With the stages of `skip` as a list, also where they are names with commas, or none."""
    if isinstance(own.get("skip", ()), str | None):
        return own | {"skip": [name for name in (own["skip"] or "").split(",") if name]}
    return own


def names_of(stage: str) -> set[str]:
    """The names that a stage answers to.

    >>> sorted(names_of("write_2"))
    ['write', 'write_2']
    """
    return {stage, re.sub(r"_\d+$", "", stage)}


def of_all(recipe: str, name: str, value: Any, stages: Mapping[str, Stage]) -> Tree:
    """A setting that all stages get, with its full name. UserError: no stage has it."""
    from menon.config import OWNERS, RunConfig
    from menon.recipes import recipe as named
    from menon.short_names import spelt_out

    usual = plain_data(named("sft")) | {"advantage": {}, "objective": {}}
    owners = [group for group in OWNERS if group[0].partition(".")[0] in SHARED]
    if name in stages:
        raise UserError(f"{name} is a stage; name one of its settings, like {name}.SETTING={value}")
    try:
        tree = spelt_out({name: value}, usual, RunConfig, owners)
    except UserError as error:
        if re.match("unknown setting|this run has no", str(error)):
            raise UserError(unknown(recipe, name, stages)) from None
        raise
    table = next(iter(tree))
    if table not in SHARED:
        first = next(iter(stages))
        raise UserError(f"{name} belongs to one stage; name the stage before it, like {first}.{name}=...")
    if not any(table in stage.shares for stage in stages.values()):
        raise UserError(f"no stage of {recipe} has the setting {name}; leave it out")
    return other_questions(tree)


def other_questions(tree: Tree) -> Tree:
    """A change that names other questions takes away those that a stage has."""
    source = tree.get("source", {})
    if source.get("data") is not None and "task" not in source:
        return merged(tree, {"source": {"task": None}})
    if source.get("task") is not None and "data" not in source:
        return merged(tree, {"source": {"data": None, "heldout_data": None}})
    return tree


def unknown(recipe: str, name: str, stages: Collection[str]) -> str:
    """What to say of a name that is neither a setting nor a stage."""
    own = [field.name for field in fields(settings_class(recipe))]
    what = nearest(name, [*own, *stages])
    shown = f"STAGE.{name}" if "." not in name else "STAGE.SETTING"
    return (
        f"{recipe} has neither a setting nor a stage '{name}'{what} (a setting of one stage is {shown}=..., "
        f"the stages are {', '.join(stages)})"
    )


def check_reads(stages: Mapping[str, Stage]) -> None:
    """UserError for a stage that reads what no stage before it makes."""
    before: list[str] = []
    for name, stage in stages.items():
        for setting, text in reads(stage).items():
            if text.partition("/")[0] not in before:
                raise UserError(
                    f"stage {name} reads stage:{text} ({setting}), and there is no such stage before it"
                    f"{nearest(text, before) if before else '; name a file or a folder'}"
                )
        before.append(name)


def checked(plan: Plan) -> Plan:
    """The plan. UserError for names in `skip` that are no stages, or are all of them."""
    known = dict.fromkeys(name for stage in plan.stages for name in sorted(names_of(stage)))
    for name in plan.settings.skip:
        if name not in known:
            raise UserError(f"skip names '{name}', which is no stage{nearest(name, known)}")
    if len(plan.skipped) == len(plan.stages):
        raise UserError("skip names every stage; leave one to run")
    return plan
