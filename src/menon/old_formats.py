"""Settings in a run.json of any version, as that version read them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from menon.config import Control, Models, OnlineSource, Policy
from menon.engine_settings import Engine
from menon.settings import Tree, merged, nested

RENAMED = {"ahead": "staleness"}
"""Names of settings of a source in earlier versions -> their names now."""


def settings_of_format_1(settings: Mapping[str, Any]) -> Tree:
    """The settings of a run.json without a format number, in which each stood at the top."""
    settings = renamed(settings)
    tree: Tree = {}
    for owner in ("control", "source", "models.policy", "models", "engine"):
        cls = {
            "control": Control,
            "source": OnlineSource,
            "models.policy": Policy,
            "models": Models,
            "engine": Engine,
        }[owner]
        own = {f.name: settings[f.name] for f in fields(cls) if f.name in settings}
        tree = merged(tree, nested({owner: own}))
    rest = ("advantage", "objective", "recipe", "scale", "own_code")
    return tree | {name: settings[name] for name in rest if name in settings}


def settings_as_begun(settings: Mapping[str, Any]) -> Tree:
    """The settings in a run.json of any version, as that version read them."""
    tree = dict(settings) if "control" in settings else settings_of_format_1(settings)
    source = tree.get("source")
    if isinstance(source, dict) and source.get("environment") is not None:
        source = {"graded_text": "all"} | source  # the reward of older versions read the observations
    return tree | {"source": renamed(source)} if isinstance(source, dict) else tree


def renamed(settings: Mapping[str, Any]) -> Tree:
    """The settings under their names of now."""
    return {RENAMED.get(name, name): value for name, value in settings.items()}
