"""Whole runs: each recipe is a function that returns a `RunConfig`."""

from typing import TYPE_CHECKING

from menon.errors import UserError

if TYPE_CHECKING:
    from menon.config import RunConfig

RECIPES = {
    "grpo": "groups of answers compared with each other, PPO clip, no critic, no KL",
    "reinforce": "the reward that is still to come, whitened; plain policy gradient",
    "ppo": "a critic, GAE with lambda = gamma = 1, clip .2, no KL: the Open-Reasoner-Zero setting",
}
"""Name of each recipe -> what it is, in one line. Its function has its name, in the module of that name."""


def recipe(name: str) -> "RunConfig":
    """The configuration of a recipe by name."""
    if name not in RECIPES:
        from menon.settings import nearest

        raise UserError(f"there is no recipe '{name}'{nearest(name, RECIPES)}")
    from importlib import import_module

    return getattr(import_module(f"menon.recipes.{name}"), name)()
