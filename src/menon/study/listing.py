"""The runs in a folder with their main numbers, and the settings in which they differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from menon.errors import UserError
from menon.record.layout import runs_in
from menon.record.reader import NewerFormat, RunView
from menon.report.differences import OF_EACH_RUN, beyond_recipe, differences
from menon.results import Evaluation, RunLine
from menon.settings import setting

WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading raises where a damaged or foreign file has values of another kind than every run has."""


def listed(folder: Path) -> list[RunLine]:
    """The runs in a folder, by name; a folder that is a run itself counts too. UserError: there is no folder,
    or no run in it."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; runs are in runs/ unless out= names another place")
    paths = runs_in(folder)
    if not paths:
        raise UserError(f"{folder} holds no runs (no folder with a run.json); start one with menon train")
    lines: list[RunLine] = []
    views: dict[int, RunView] = {}
    for place, path in enumerate(paths):
        try:
            view = RunView.open(path)
            lines.append(line_of(view))
            views[place] = view
        except NewerFormat:
            lines.append(unreadable(path, "newer"))
        except (UserError, OSError, *WRONG):
            lines.append(unreadable(path, "damaged"))
    for place, values in differing(views).items():
        lines[place]["differs"] = values
    return lines


def unreadable(path: Path, state: str) -> RunLine:
    """The line of a folder whose run.json cannot be read."""
    return {
        "run": path.name,
        "path": str(path),
        "recipe": None,
        "model": None,
        "seed": None,
        "step": 0,
        "steps": None,
        "state": state,
        "before": {},
        "after": {},
        "after_step": None,
        "training": None,
        "minutes": None,
        "warnings": [],
        "differs": {},
        "heartbeat": None,
    }


def line_of(view: RunView) -> RunLine:
    """The line of a run."""
    last = view.metrics[-1] if view.metrics else {}
    numbers = ((name, last.get(key)) for name, key in TRAINING)
    seed, steps = setting(view.settings, "seed"), setting(view.settings, "steps")
    after = next((line["step"] for line in reversed(view.evaluations) if line["step"] > 0), None)
    return {
        "run": view.path.name,
        "path": str(view.path),
        "recipe": setting(view.settings, "recipe") or None,
        "model": setting(view.settings, "model"),
        "seed": None if seed is None else int(seed),
        "step": view.steps,
        "steps": None if steps is None else int(steps),
        "state": view.state,
        "before": cast(Evaluation, view.evaluation(0) or {}),
        "after": cast(Evaluation, (view.evaluation(after) if after else None) or {}),
        "after_step": after,
        "training": next(((name, value) for name, value in numbers if isinstance(value, int | float)), None),
        "minutes": view.wall_s / 60,
        "warnings": view.signs,
        "differs": {},
        "heartbeat": view.heartbeat,
    }


OF_ROWS = ("pairs/accuracy", "kto/accuracy", "nll")
TRAINING = (("accuracy", "acc/mean"), ("reward", "reward/mean"), *((name, name) for name in OF_ROWS))
"""The number of the last step that is shown, and its name in the metrics; the first that there is."""
ANYWAY = ("recipe", "models.policy.model", "control.steps", *OF_EACH_RUN)
"""Settings that are shown anyway, or that differ from run to run."""
TAKEN = {"run", "path", "seed", "state", "accuracy", "reward", "training", "minutes", "warnings"}
"""Names of columns; a setting of such a name goes by its whole path."""


def differing(views: Mapping[int, RunView]) -> dict[int, dict[str, Any]]:
    """The settings that are not the same in all runs, by short name, for each run; those that follow from the
    recipe's name are left out."""
    trees = {place: tree_of(view) for place, view in views.items()}
    ignored = (*ANYWAY, *(path.rpartition(".")[2] for path in ANYWAY))
    if len(trees) < 2:
        return {}
    found = differences(list(trees.values()), ignored)
    recipes = [str(tree.get("recipe", "")) for tree in trees.values()]
    if found and len(set(recipes)) > 1:
        whole = list(trees.values())
        found = beyond_recipe(found, recipes, lambda run: recipe_of(whole[run]))
    names = [".".join(one.path) if one.name in TAKEN else one.name for one in found]
    return {
        place: {name: one.values[number] for name, one in zip(names, found, strict=True)}
        for number, place in enumerate(trees)
    }


def tree_of(view: RunView) -> Mapping[str, Any]:
    """The settings of a run in the present form."""
    if view.format > 1:
        return view.settings
    from menon.old_formats import settings_of_format_1

    return settings_of_format_1(view.settings)


def recipe_of(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The settings that the run's recipe has by itself; None if it is not known here."""
    from menon.recipes import recipe
    from menon.settings import plain_data

    try:
        whole = recipe(str(tree.get("recipe")), str(setting(tree, "model")), str(tree.get("scale", "laptop")))
    except UserError:
        return None
    found: dict[str, Any] = plain_data(whole)
    return found
